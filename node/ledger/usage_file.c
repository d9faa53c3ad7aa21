/* usage_file: the days as protobuf, a row at a time: a message whose repeated field has one element
 * more is the same as two behind one another. */
#include <stdlib.h>

#include "ledger/ledger.h"
#include "ledger/usage_days.h"
#include "ledger/usage_wire.h"
#include "proto/binary.h"

enum { FILE_VERSION = 1 };

static void append(struct buffer *b, const Cluster__UsageFile *file)
{
    size_t size = cluster__usage_file__get_packed_size(file);
    buffer_reserve(b, size);
    cluster__usage_file__pack(file, (uint8_t *)b->data + b->size);
    b->size += size;
}

/* What an account or a row of it has. */
static Cluster__Count count_of(const struct usage_account *of, uint64_t requests,
                               const struct usage_sum *usage, struct usage_packed *space)
{
    Cluster__Count count = CLUSTER__COUNT__INIT;
    count.application = binary_of(of->application);
    count.instance = binary_of(of->instance);
    count.requests = requests;
    usage_pack(&count, usage, space);
    return count;
}

static void save_row(void *arg, uint32_t day, const struct usage_row *row)
{
    struct usage_packed space;
    Cluster__Count count = count_of(row->of, row->requests, &row->usage, &space);
    Cluster__Count *counts[] = {&count};
    Cluster__UsageDay one = CLUSTER__USAGE_DAY__INIT;
    Cluster__UsageDay *days[] = {&one};
    Cluster__UsageFile file = CLUSTER__USAGE_FILE__INIT;
    one.day = day;
    one.n_rows = 1;
    one.rows = counts;
    file.n_days = 1;
    file.days = days;
    append(arg, &file);
}

static void save_account(void *arg, const struct usage_account *a)
{
    struct usage_packed space;
    Cluster__Count count = count_of(a, a->requests, &a->usage, &space);
    Cluster__Count *counts[] = {&count};
    Cluster__UsageFile file = CLUSTER__USAGE_FILE__INIT;
    file.n_marks = 1;
    file.marks = counts;
    append(arg, &file);
}

void usage_days_save(const struct usage_days *d, enum usage_part part, struct buffer *b)
{
    Cluster__UsageFile file = CLUSTER__USAGE_FILE__INIT;
    file.version = FILE_VERSION;
    append(b, &file);
    usage_days_each(d, part == USAGE_PAST, save_row, b);
    if (part == USAGE_LATEST) {
        usage_days_each_account(d, save_account, b);
    }
}

/* False: no row of ours. */
static bool read_row(struct usage_days *d, const Cluster__Count *count, struct usage_row *ret)
{
    struct bytes application = bytes_in(count->application);
    struct bytes instance = bytes_in(count->instance);
    ret->requests = count->requests;
    if (!names_valid(application) || !names_valid(instance) || !usage_unpack(count, &ret->usage)) {
        return false;
    }
    ret->of = usage_days_account(d, application, instance);
    return true;
}

bool usage_days_load(struct usage_days *d, struct bytes bytes)
{
    Cluster__UsageFile *file =
        cluster__usage_file__unpack(NULL, bytes.size, (const uint8_t *)bytes.at);
    bool good = file && file->version == FILE_VERSION;
    struct usage_row row;
    for (size_t i = 0; good && i < file->n_days; i++) {
        for (size_t k = 0; good && k < file->days[i]->n_rows; k++) {
            good = read_row(d, file->days[i]->rows[k], &row);
            if (good) {
                usage_days_put(d, file->days[i]->day, &row);
            }
        }
    }
    for (size_t i = 0; good && i < file->n_marks; i++) {
        good = read_row(d, file->marks[i], &row);
        if (good) {
            usage_days_put_account(d, &row);
        }
    }
    for (size_t i = 0; good && file->n_marks > 0 && i < file->n_days; i++) {
        usage_days_turn(d, file->days[i]->day); /* the latest have marks */
    }
    if (file) {
        cluster__usage_file__free_unpacked(file, NULL);
    }
    return good;
}
