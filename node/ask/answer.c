/* cli_answer: what a node says came over a network: none of it steers the terminal. */
#include "ask/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

int cli_ask_json(struct cli_node *n, const char *method, const char *target, unsigned also,
                 json_t **ret)
{
    struct cli_answer answer;
    int code = cli_node_ask(n, method, target, also, &answer);
    if (code == CLI_FINE) {
        *ret = json_loadb(answer.body.data, answer.body.size, 0, NULL);
        if (!json_is_object(*ret)) {
            json_decref(*ret);
            *ret = NULL;
            code = cli_failed(n->command,
                              "%s answers with something that is no JSON object; is it "
                              "a difyring of this version?",
                              n->url);
        }
    }
    cli_answer_done(&answer);
    return code;
}

char *cli_printable(const char *text)
{
    char *copy = memory_copy_text(text ? text : "", text ? strlen(text) : 0);
    cli_make_printable(copy);
    return copy;
}

void cli_print_list(const char *before, const json_t *list)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        char *text = cli_printable(json_string_value(one));
        printf("%s%s\n", before, text);
        free(text);
    }
}

bool cli_is_bad_file(const json_t *answer)
{
    return json_array_size(json_object_get(answer, "errors")) > 0;
}

int cli_print_bad_file(const char *command, const json_t *answer)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(answer, "errors"), i, one)
    {
        char *file = cli_printable(json_string_value(json_object_get(one, "file")));
        char *message = cli_printable(json_string_value(json_object_get(one, "message")));
        fprintf(stderr, "%s:%lld:%lld: %s\n", file,
                (long long)json_integer_value(json_object_get(one, "line")),
                (long long)json_integer_value(json_object_get(one, "column")), message);
        free(file);
        free(message);
    }
    return cli_failed(command, "the node's file has mistakes; what is in force stays");
}
