/* json_schema: the rows as a JSON Schema (draft 2020-12), for editors and for doc/CONFIGURATION.md.
 *
 * It speaks of the document that YAML makes of a file, and never refuses what the reader takes. So
 * each single value may also be text with `${`, a bare number is text where text is wanted, and
 * what a pattern cannot say (addresses, ranges of durations with a unit, duplicates) is left to the
 * reader. Of our own are `x-type` and `x-effect`, for the page. */
#include "conf/read/reader.h"
#include "conf/value.h"

/* A JSON string; patterns and help are ASCII. */
static void put_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    fputc('"', out);
}

static void put_pair(FILE *out, const char *key, const char *text)
{
    put_string(out, key);
    fputs(": ", out);
    put_string(out, text);
    fputs(", ", out);
}

/* The text of a default, see standard_node() of reader.c. */
static void put_standard(FILE *out, struct bytes text)
{
    uint64_t number;
    bool boolean = bytes_equal(text, BYTES("true")) || bytes_equal(text, BYTES("false"));
    if (text.at[0] == '[') {
        struct bytes rest = {text.at + 1, text.size - 2}, item;
        fputc('[', out);
        for (const char *between = ""; bytes_next_element(&rest, &item); between = ", ") {
            fputs(between, out);
            put_standard(out, item);
        }
        fputc(']', out);
    } else if (boolean || value_number(text, &number) || text.at[0] == '"') {
        fprintf(out, "%.*s", (int)text.size, text.at);
    } else {
        fprintf(out, "\"%.*s\"", (int)text.size, text.at);
    }
}

static void put_bare(FILE *out, const struct conf_field *field)
{
    switch (field->type->bare) {
    case BARE_NOTHING:
        break;
    case BARE_WHOLE:
        fprintf(out, "{\"type\": \"integer\", \"minimum\": %llu, \"maximum\": %llu}, ",
                (unsigned long long)field->min, (unsigned long long)field->max);
        break;
    case BARE_SECONDS:
        fprintf(out, "{\"type\": \"number\", \"minimum\": %g, \"maximum\": %g}, ",
                (double)field->min / 1000, (double)field->max / 1000);
        break;
    case BARE_TEXT:
        fputs("{\"type\": \"number\"}, ", out);
        break;
    case BARE_BOOLEAN:
        fputs("{\"type\": \"boolean\"}, {\"$ref\": \"#/$defs/boolean\"}, ", out);
        break;
    case BARE_OFF:
        fputs("{\"const\": false}, {\"type\": \"number\"}, ", out);
        break;
    }
}

/* What one value may be: any of these. */
static void put_single(FILE *out, const struct conf_field *field)
{
    const char *pattern = field->type->pattern;
    fputs("\"anyOf\": [", out);
    put_bare(out, field);
    if (field->choices) {
        fputs("{\"enum\": [", out);
        for (size_t i = 0; field->choices[i]; i++) {
            fputs(i > 0 ? ", " : "", out);
            put_string(out, field->choices[i]);
        }
        fputs("]}, ", out);
    }
    if (pattern) {
        fputs("{\"type\": \"string\", \"pattern\": ", out);
        put_string(out, pattern);
        fputs("}, ", out);
    }
    fputs("{\"$ref\": \"#/$defs/environment\"}]", out);
}

static void put_section(FILE *out, const struct conf_section *section, int indent);

static const char *effect_name(enum conf_effect effect)
{
    switch (effect) {
    case CONF_LIVE:
        return "reload";
    case CONF_RESTART:
        return "restart";
    case CONF_SHARED:
        return "reload, for the whole cluster";
    case CONF_TOOL:
        break;
    }
    return "the next `difyring vrrp`";
}

static void put_list(FILE *out, const struct conf_field *field, int indent)
{
    const struct conf_field *item = field->item;
    bool named = item->section && item->section->block; /* a mapping from their names */
    fprintf(out,
            named ? "\"type\": \"object\", \"minProperties\": %llu, \"maxProperties\": %llu, "
                  : "\"type\": \"array\", \"minItems\": %llu, \"maxItems\": %llu, ",
            (unsigned long long)field->min, (unsigned long long)field->max);
    if (named) {
        fputs("\"propertyNames\": {\"pattern\": ", out);
        put_string(out, CONF_PATTERN_NAME);
        fputs("}, ", out);
    }
    fputs(named ? "\"additionalProperties\": {" : "\"items\": {", out);
    if (item->section) {
        put_section(out, item->section, indent);
    } else {
        put_pair(out, "x-type", item->type->name);
        put_single(out, item);
    }
    fputs("}", out);
}

static void put_field(FILE *out, const struct conf_field *field, int indent)
{
    fprintf(out, "%*s\"%s\": {", indent, "", field->key);
    if (field->help) {
        put_pair(out, "description", field->help);
    }
    if (field->effect) {
        put_pair(out, "x-effect", effect_name(field->effect));
    }
    if (field->standard) {
        fputs("\"default\": ", out);
        put_standard(out, bytes_of(field->standard));
        fputs(", ", out);
    }
    if (field->from > 0) { /* the same keys, and they are laid over those */
        fprintf(out, "\"$ref\": \"#/properties/%s\"}", field->key);
        return;
    }
    put_pair(out, "x-type", field->type->name);
    if (field->item) {
        put_list(out, field, indent);
    } else if (field->section && field->type->bare != BARE_NOTHING) {
        fputs("\"anyOf\": [", out);
        put_bare(out, field);
        fputs("{", out);
        put_section(out, field->section, indent);
        fputs("}]", out);
    } else if (field->section) {
        put_section(out, field->section, indent);
    } else {
        put_single(out, field);
    }
    fputs("}", out);
}

static void put_section(FILE *out, const struct conf_section *section, int indent)
{
    const char *between = "\"required\": [";
    fputs("\"type\": \"object\", \"additionalProperties\": false, ", out);
    for (const struct conf_field *field = section->fields; field->key; field++) {
        if (field->required) {
            fprintf(out, "%s\"%s\"", between, field->key);
            between = ", ";
        }
    }
    fputs(between[0] == ',' ? "], " : "", out);
    if (section->rule) {
        fprintf(out, "%s, ", section->rule);
    }
    fputs("\"properties\": {\n", out);
    for (const struct conf_field *field = section->fields; field->key; field++) {
        put_field(out, field, indent + 2);
        fputs(field[1].key ? ",\n" : "\n", out);
    }
    fprintf(out, "%*s}", indent, "");
}

void conf_print_schema(FILE *out)
{
    fputs("{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
          "  \"title\": \"difyring\",\n"
          "  \"$defs\": {\n"
          "    \"environment\": {\"type\": \"string\", \"pattern\": \"\\\\$\\\\{\"},\n"
          "    \"boolean\": {\"type\": \"string\", \"pattern\": "
          "\"^([Yy]([Ee][Ss])?|[Nn][Oo]?|[Oo][Nn]|[Oo][Ff][Ff])$\"}\n  },\n  ",
          out);
    put_section(out, &conf_root, 2);
    fputs("\n}\n", out);
}
