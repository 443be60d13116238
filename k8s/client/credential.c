/* Tokens and certificates that are renewed; see credential.h. */
#include "k8s/client/credential.h"

#include "k8s/client/file.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN_AFTER_FAILURE (10 * RK_S)
#define EXPIRY_LEEWAY (10 * RK_S)
/* What a plugin printed is used for so long even if it was old already: what waited for it goes,
 * and the plugin is not run without a pause. */
#define LEAST_USE RK_S

void credential_init(struct credential *credential, const struct api_config *config,
                     struct api *api, struct draw *draw, void (*ready)(void *who), void *who)
{
    memset(credential, 0, sizeof *credential);
    credential->config = config;
    credential->api = api;
    credential->draw = draw;
    credential->ready = ready;
    credential->who = who;
    credential->plugin_wait =
        (struct backoff){.first = RK_S, .most = 30 * RK_S, .healthy = 120 * RK_S};
}

static void wipe(char *text, size_t size)
{
    if (text != NULL)
        explicit_bzero(text, size);
    free(text);
}

void credential_done(struct credential *credential)
{
    plugin_free(credential->plugin);
    plugin_answer_done(&credential->answer);
    wipe(credential->token, credential->token != NULL ? strlen(credential->token) : 0);
    wipe(credential->ca.data, credential->ca.size);
    wipe(credential->cert.data, credential->cert.size);
    wipe(credential->key.data, credential->key.size);
}

/* Puts `data` in the place of what is held, if it differs. */
static void replace(struct credential *credential, struct api_material *held, char *data,
                    size_t size)
{
    if (held->data != NULL && held->size == size && memcmp(held->data, data, size) == 0) {
        wipe(data, size);
        return;
    }
    wipe(held->data, held->size);
    held->data = data;
    held->size = size;
    credential->version++;
}

/* Takes a copy of `size` bytes. */
static int hold(struct credential *credential, struct api_material *held, const char *data,
                size_t size, struct rk_why *why)
{
    char *copy = malloc(size + 1);

    if (copy == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for certificates");
    memcpy(copy, data, size);
    copy[size] = '\0';
    replace(credential, held, copy, size);
    return 0;
}

static int read_material(struct credential *credential, const struct api_material *from,
                         struct api_material *held, struct rk_why *why)
{
    char *data;
    size_t size;
    int rc;

    if (from->data != NULL)
        return hold(credential, held, from->data, from->size, why);
    if (from->path == NULL)
        return 0;
    rc = file_read(from->path, &data, &size, why);
    if (rc == 0)
        replace(credential, held, data, size);
    return rc;
}

/* A token is one word; a file of them ends with a newline more often than not. */
static int trim_token(const char *origin, char *token, size_t *size, struct rk_why *why)
{
    while (*size > 0 && strchr(" \r\n\t", token[*size - 1]) != NULL)
        token[--*size] = '\0';
    if (*size == 0)
        return rk_fail(why, RK_EDATA, "%s: the token is empty", origin);
    for (size_t i = 0; i < *size; i++)
        if (token[i] <= ' ' || token[i] == 0x7f)
            return rk_fail(why, RK_EDATA, "%s: the token has characters that no token has", origin);
    return 0;
}

static int read_token(struct credential *credential, struct rk_why *why)
{
    const struct api_config *config = credential->config;
    struct api_material held = {.data = credential->token,
                                .size = credential->token != NULL ? strlen(credential->token) : 0};
    char *token = NULL;
    size_t size;
    int rc = 0;

    if (config->token_file != NULL)
        rc = file_read(config->token_file, &token, &size, why);
    else if (config->token != NULL && (token = strdup(config->token)) != NULL)
        size = strlen(token);
    else
        return 0;
    if (rc == 0)
        rc = trim_token(config->token_file != NULL ? config->token_file : config->origin, token,
                        &size, why);
    if (rc != 0) {
        free(token);
        return rc;
    }
    replace(credential, &held, token, size);
    credential->token = held.data;
    return 0;
}

/* Reads all files.  What is held stays in use when one cannot be read for a while. */
static int read_files(struct credential *credential, uint64_t now, struct rk_why *why)
{
    const struct api_config *config = credential->config;
    bool first = credential->version == 0;
    int rc = read_material(credential, &config->ca, &credential->ca, why);

    if (rc == 0 && config->exec == NULL)
        rc = read_material(credential, &config->cert, &credential->cert, why);
    if (rc == 0 && config->exec == NULL)
        rc = read_material(credential, &config->key, &credential->key, why);
    if (rc == 0 && config->exec == NULL)
        rc = read_token(credential, why);
    if (rc == 0) {
        credential->read_at = now > 0 ? now : 1;
        if (first)
            credential->version++;
        return 0;
    }
    if (first || credential->version == 0) {
        credential->version = 0;
        return rc;
    }
    credential->read_at = now - CREDENTIAL_PERIOD + AGAIN_AFTER_FAILURE;
    return 0;
}

/* Takes what the plugin printed as token and certificates. */
static int take_answer(struct credential *credential, struct plugin_answer *answer,
                       struct rk_why *why)
{
    struct api_material held = {.data = credential->token,
                                .size = credential->token != NULL ? strlen(credential->token) : 0};
    int rc = 0;

    if (answer->token != NULL) {
        replace(credential, &held, answer->token, strlen(answer->token));
        credential->token = held.data;
        answer->token = NULL;
    }
    if (answer->cert != NULL)
        rc = hold(credential, &credential->cert, answer->cert, strlen(answer->cert), why);
    if (rc == 0 && answer->key != NULL)
        rc = hold(credential, &credential->key, answer->key, strlen(answer->key), why);
    credential->answer.expires = answer->expires;
    return rc;
}

static void on_plugin(void *who, struct plugin_answer *answer, const struct rk_why *why)
{
    struct credential *credential = who;

    credential->plugin = NULL;
    credential->plugin_rc = RK_EUNAVAILABLE;
    if (why != NULL)
        credential->plugin_why = *why;
    if (answer != NULL)
        credential->plugin_rc = take_answer(credential, answer, &credential->plugin_why);
    credential->answered = credential->plugin_rc == 0;
    credential->answered_at = loop_now(credential->api);
    if (credential->answered)
        backoff_reset(&credential->plugin_wait);
    credential->ready(credential->who);
}

static int prepare_plugin(struct credential *credential, uint64_t now, uint64_t wall,
                          struct rk_why *why)
{
    uint64_t expires = credential->answer.expires;
    int rc;

    if (credential->answered && (expires == 0 || wall + EXPIRY_LEEWAY < expires ||
                                 now < credential->answered_at + LEAST_USE))
        return 0;
    if (credential->plugin != NULL)
        return CREDENTIAL_WAIT;
    if (credential->plugin_rc != 0 && credential->plugin_again == 0)
        credential->plugin_again =
            now + backoff_fail(&credential->plugin_wait, now, credential->draw);
    if (now < credential->plugin_again)
        return rk_fail(why, credential->plugin_rc, "%s", credential->plugin_why.text);
    credential->plugin_again = 0;
    rc = plugin_start(credential->api, credential->config, on_plugin, credential,
                      &credential->plugin, &credential->plugin_why);
    if (rc == 0)
        return CREDENTIAL_WAIT;
    credential->plugin_rc = rc;
    return rk_fail(why, rc, "%s", credential->plugin_why.text);
}

int credential_prepare(struct credential *credential, uint64_t now, uint64_t wall,
                       struct rk_why *why)
{
    int rc = 0;

    if (credential->read_at == 0 || now - credential->read_at >= CREDENTIAL_PERIOD)
        rc = read_files(credential, now, why);
    if (rc == 0 && credential->config->exec != NULL)
        rc = prepare_plugin(credential, now, wall, why);
    return rc;
}

bool credential_refused(struct credential *credential, uint64_t version)
{
    const struct api_config *config = credential->config;

    if (version != credential->version)
        return true;
    if (config->exec != NULL) {
        credential->answered = false;
        return true;
    }
    if (config->token_file == NULL && config->cert.path == NULL)
        return false;
    credential_distrust(credential);
    return true;
}

void credential_distrust(struct credential *credential)
{
    credential->read_at = 0;
}
