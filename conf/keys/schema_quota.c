/* schema_quota: `quotas` of an application. Of the three things that one may count exactly one is
 * given, and only what is given is written again. */
#include "conf/read/reader.h"

/* Reads as the type that it is made of, and notes that the key is there. */
#define GIVEN(name, type_of)                                                                       \
    static CONF_READER(name)                                                                       \
    {                                                                                              \
        *((bool *)place - field->offset + field->present) = true;                                  \
        (type_of).read(r, field, value, place);                                                    \
    }

GIVEN(read_given_number, conf_type_number)
GIVEN(read_given_duration, conf_type_duration)

static const struct conf_type type_amount = {
    "number", read_given_number, NULL, CONF_PLAIN(uint32_t), BARE_WHOLE, NULL};
static const struct conf_type type_every = {"duration",   read_given_duration,
                                            NULL,         CONF_PLAIN(uint64_t),
                                            BARE_SECONDS, CONF_PATTERN_DURATION};

#define PRESENT(member)                                                                            \
    AT(conf_quota, member), .present = offsetof(struct conf_quota, member##_given)

static const struct conf_field quota_fields[] = {
    {"per", &conf_type_choice, AT(conf_quota, per), .choices = quota_per_words, .required = true,
     .help = "whom it counts apart. Requests without a user are one user"},
    {"requests", &type_amount, PRESENT(requests), .min = 1, .max = CONF_QUOTA_AMOUNT_MAX,
     .help = "so many requests within `every`"},
    {"tokens", &type_amount, PRESENT(tokens), .min = 1, .max = CONF_QUOTA_AMOUNT_MAX,
     .help =
         "or so many tokens, prompt and completion together, as Dify tells them at the end of a "
         "run"},
    {"concurrent", &type_amount, PRESENT(concurrent), .min = 1, .max = CONF_QUOTA_AMOUNT_MAX,
     .help = "or so many long requests at a time"},
    {"every", &type_every, PRESENT(every_ms), .min = QUOTA_WINDOW_MIN_MS,
     .max = QUOTA_WINDOW_MAX_MS, .help = "the window, which slides: of requests and tokens"},
    {"shadow", &conf_type_boolean, AT(conf_quota, shadow), .standard = "false",
     .help = "only count and log: refuse nobody"},
    {0},
};

static int kinds_of(const struct conf_quota *quota)
{
    return quota->requests_given + quota->tokens_given + quota->concurrent_given;
}

static void check_quota(struct conf_reader *r, const struct yaml_node *value, void *section)
{
    const struct conf_quota *quota = section;
    int kinds = kinds_of(quota);
    if (value->broken) {
        return;
    }
    if (kinds != 1) {
        conf_problem(r, value, "a quota has exactly one of `requests`, `tokens` and `concurrent`");
    } else if (quota->concurrent_given && quota->every_ms_given) {
        conf_problem(r, yaml_tree_get(value, "every"),
                     "`concurrent` counts what is in flight and has no `every`");
    } else if (!quota->concurrent_given && !quota->every_ms_given) {
        conf_problem(r, value, "`every` is missing in a quota of requests or tokens");
    }
}

static const struct conf_section quota = {
    .what = "a quota",
    .fields = quota_fields,
    .size = sizeof(struct conf_quota),
    .line = offsetof(struct conf_quota, line),
    .check = check_quota,
    .rule = "\"oneOf\": [{\"required\": [\"requests\", \"every\"], \"not\": {\"required\": "
            "[\"concurrent\"]}}, {\"required\": [\"tokens\", \"every\"], \"not\": {\"required\": "
            "[\"concurrent\"]}}, {\"required\": [\"concurrent\"], \"not\": {\"required\": "
            "[\"every\"]}}]"};

const struct conf_field conf_quota_item = {CONF_SECTION(quota)};

static bool same_count(const struct conf_quota *a, const struct conf_quota *b)
{
    return kinds_of(a) == 1 && kinds_of(b) == 1 && a->per == b->per &&
           a->requests_given == b->requests_given && a->tokens_given == b->tokens_given &&
           a->every_ms == b->every_ms;
}

/* They would count one thing, with two limits. */
CONF_EACH(conf_refuse_same_quota)
{
    const struct conf_application *application = section;
    const struct conf_quota *quotas = application->quotas;
    for (size_t i = 0; i < index; i++) {
        if (same_count(&quotas[i], &quotas[index])) {
            conf_problem(r, item,
                         "this quota counts the same as the one at line %u; keep the lower limit",
                         quotas[i].line);
            return;
        }
    }
}
