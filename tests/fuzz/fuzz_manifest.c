/* Any bytes as a file of manifests: read without a fault of our own, whatever faults it has; and
 * what was read, printed and read again, is the same. */
#include "k8s/manifest/mpijob_file.h"
#include "k8s/manifest/yaml_print.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* Every text that a fault carries can stand in JSON: whole characters. */
static void check_faults(const struct faults *faults)
{
    for (size_t i = 0; i < faults->count; i++) {
        const struct fault *fault = &faults->fault[i];
        json_t *texts = json_pack("[s, s, s]", fault->path, fault->sentence, fault->remedy);

        must(texts != NULL);
        must(i == 0 || fault->at.line >= faults->fault[i - 1].at.line);
        json_decref(texts);
    }
}

static void round_trip(const struct yaml_node *document)
{
    char *text = NULL;
    struct yaml_tree *tree;
    struct faults faults;
    const struct yaml_node *again;

    faults_init(&faults);
    must(yaml_print(document->value, &text, NULL) == 0);
    must(yaml_tree_read(text, strlen(text), &faults, &tree, NULL) == 0);
    again = yaml_tree_first(tree);
    must(faults.count == 0);
    must(again != NULL && again->next == NULL && json_equal(again->value, document->value));
    yaml_tree_free(tree);
    faults_done(&faults);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mpijob_file *file;
    struct faults faults;

    faults_init(&faults);
    must(mpijob_file_read((const char *)data, size, &faults, &file, NULL) == 0);
    check_faults(&faults);
    for (const struct yaml_node *n = yaml_tree_first(file->tree); n != NULL; n = n->next)
        round_trip(n);
    mpijob_file_free(file);
    faults_done(&faults);
    return 0;
}
