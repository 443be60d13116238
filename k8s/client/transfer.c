/* HTTP exchanges by libcurl; see transfer.h. */
#include "k8s/client/transfer.h"

#include "k8s/client/loop.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define CONNECT_MS 10000L
#define FIRST_ROOM 16384u
#define ERROR_MOST (1u << 20) /* bytes that are kept of a stream's error */

/* With another name for the certificate the URL has that name, and the connection goes to the real
 * place: "::host:port". */
static int rename_host(struct target *target, CURLU *url, struct rk_why *why)
{
    char *host = NULL;
    char *port = NULL;
    char *to = NULL;
    int rc = RK_ENOMEM;

    if (curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        asprintf(&to, "::%s:%s", host, port) >= 0 &&
        asprintf(&target->host, "Host: %s:%s", host, port) >= 0 &&
        curl_url_set(url, CURLUPART_HOST, target->config->tls_name, 0) == CURLUE_OK &&
        (target->connect_to = curl_slist_append(NULL, to)) != NULL)
        rc = 0;
    curl_free(host);
    curl_free(port);
    free(to);
    return rc == 0 ? 0
                   : rk_fail(why, RK_EDATA, "%s: tls-server-name '%.100s' is no host name",
                             target->config->origin, target->config->tls_name);
}

static int set_base(struct target *target, CURLU *url, struct rk_why *why)
{
    char *base = NULL;
    size_t length;

    if (curl_url_get(url, CURLUPART_URL, &base, 0) != CURLUE_OK)
        return rk_fail(why, RK_ENOMEM, "no memory for the server's address");
    target->base = strdup(base);
    curl_free(base);
    if (target->base == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the server's address");
    length = strlen(target->base);
    while (length > 0 && target->base[length - 1] == '/')
        target->base[--length] = '\0';
    return 0;
}

int target_init(struct target *target, const struct api_config *config, const char *user_agent,
                struct rk_why *why)
{
    CURLU *url = curl_url();
    int rc = 0;

    memset(target, 0, sizeof *target);
    target->config = config;
    target->user_agent = strdup(user_agent);
    if (url == NULL || target->user_agent == NULL)
        rc = rk_fail(why, RK_ENOMEM, "no memory for the server's address");
    else if (curl_url_set(url, CURLUPART_URL, config->server, 0) != CURLUE_OK)
        rc = rk_fail(why, RK_EDATA, "%s: the server '%.200s' is no address", config->origin,
                     config->server);
    if (rc == 0 && config->tls_name != NULL)
        rc = rename_host(target, url, why);
    if (rc == 0)
        rc = set_base(target, url, why);
    curl_url_cleanup(url);
    if (rc != 0)
        target_done(target);
    return rc;
}

void target_done(struct target *target)
{
    free(target->base);
    free(target->host);
    free(target->user_agent);
    curl_slist_free_all(target->connect_to);
    memset(target, 0, sizeof *target);
}

/* A peer that is gone is noticed within half a minute, in both directions. */
static int on_socket(void *who, curl_socket_t fd, curlsocktype purpose)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},          {IPPROTO_TCP, TCP_KEEPIDLE, 15},
        {IPPROTO_TCP, TCP_KEEPINTVL, 5},        {IPPROTO_TCP, TCP_KEEPCNT, 3},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000},
    };

    (void)who;
    (void)purpose;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                   sizeof options[i].value);
    return CURL_SOCKOPT_OK;
}

/* Header names come in any case, in HTTP/2 in small letters. */
static size_t on_header(char *line, size_t size, size_t count, void *who)
{
    static const char name[] = "retry-after:";
    struct transfer *transfer = who;
    size_t length = size * count;
    uint64_t seconds = 0;

    transfer->heard_at = loop_now(transfer->api);
    if (length > 5 && strncasecmp(line, "HTTP/", 5) == 0)
        transfer->retry_after = 0;
    if (length <= 2)
        transfer->answered = true;
    if (length < sizeof name || strncasecmp(line, name, sizeof name - 1) != 0)
        return length;
    for (size_t i = sizeof name - 1; i < length && seconds < 100000; i++)
        if (line[i] >= '0' && line[i] <= '9')
            seconds = seconds * 10 + (uint64_t)(line[i] - '0');
        else if (line[i] != ' ' && line[i] != '\r' && line[i] != '\n')
            return length;
    transfer->retry_after = seconds * RK_S;
    return length;
}

static bool keep(struct transfer *transfer, const char *bytes, size_t count)
{
    size_t room = transfer->room > 0 ? transfer->room : FIRST_ROOM;
    char *grown;

    if (count > transfer->most - transfer->used) {
        transfer->too_much = true;
        return false;
    }
    while (room < transfer->used + count + 1)
        room *= 2;
    if (room > transfer->room) {
        grown = realloc(transfer->answer, room);
        if (grown == NULL) {
            transfer->no_memory = true;
            return false;
        }
        transfer->answer = grown;
        transfer->room = room;
    }
    memcpy(transfer->answer + transfer->used, bytes, count);
    transfer->used += count;
    return true;
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *who)
{
    struct transfer *transfer = who;
    size_t length = size * count;

    transfer->heard_at = loop_now(transfer->api);
    if (transfer->bytes == NULL || transfer_code(transfer) != 200)
        return keep(transfer, bytes, length) ? length : 0;
    if (transfer->enough || !transfer->bytes(transfer->who, bytes, length)) {
        transfer->enough = true;
        return 0;
    }
    return length;
}

static void set_place(struct transfer *transfer, const struct target *target)
{
    CURL *easy = transfer->easy;
    const struct api_config *config = target->config;

    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, target->user_agent);
    /* An empty string keeps libcurl from asking the environment. */
    curl_easy_setopt(easy, CURLOPT_PROXY, config->proxy != NULL ? config->proxy : "");
    if (target->connect_to != NULL)
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, target->connect_to);
}

static void set_blob(CURL *easy, CURLoption option, const struct api_material *material)
{
    struct curl_blob blob = {
        .data = material->data, .len = material->size, .flags = CURL_BLOB_COPY};

    if (material->data != NULL)
        curl_easy_setopt(easy, option, &blob);
}

static void set_trust(struct transfer *transfer, const struct api_config *config,
                      const struct credential *credential)
{
    CURL *easy = transfer->easy;

    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    set_blob(easy, CURLOPT_CAINFO_BLOB, &credential->ca);
    set_blob(easy, CURLOPT_SSLCERT_BLOB, &credential->cert);
    set_blob(easy, CURLOPT_SSLKEY_BLOB, &credential->key);
    if (config->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (config->user != NULL && credential->token == NULL) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(easy, CURLOPT_USERNAME, config->user);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, config->password != NULL ? config->password : "");
    }
}

/* Appends "NAME: VALUE"; false: no memory. */
static bool add_header(struct transfer *transfer, const char *name, const char *value)
{
    char *line = NULL;
    struct curl_slist *longer = NULL;

    if (asprintf(&line, "%s%s", name, value) >= 0) {
        longer = curl_slist_append(transfer->headers, line);
        explicit_bzero(line, strlen(line));
        free(line);
    }
    if (longer != NULL)
        transfer->headers = longer;
    return longer != NULL;
}

static bool set_headers(struct transfer *transfer, const struct target *target,
                        const struct credential *credential, const struct transfer_order *order)
{
    bool done = add_header(transfer, "Accept: ", "application/json");

    if (target->host != NULL)
        done = done && add_header(transfer, target->host, "");
    if (credential->token != NULL)
        done = done && add_header(transfer, "Authorization: Bearer ", credential->token);
    if (order->body != NULL) {
        done = done && add_header(transfer, "Content-Type: ", order->type);
        done = done && add_header(transfer, "Expect:", "");
    }
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    return done;
}

static void set_order(struct transfer *transfer, const struct transfer_order *order)
{
    static const char *const names[] = {[VERB_GET] = "GET",
                                        [VERB_POST] = "POST",
                                        [VERB_PUT] = "PUT",
                                        [VERB_PATCH] = "PATCH",
                                        [VERB_DELETE] = "DELETE"};
    CURL *easy = transfer->easy;

    if (order->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, order->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)order->size);
    }
    if (order->verb != VERB_GET)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, names[order->verb]);
}

static void set_ears(struct transfer *transfer)
{
    CURL *easy = transfer->easy;

    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
}

int transfer_open(struct transfer *transfer, const struct target *target,
                  const struct credential *credential, const struct transfer_order *order,
                  struct rk_why *why)
{
    char *url = NULL;
    bool done;

    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL || asprintf(&url, "%s%s", target->base, order->path) < 0)
        return rk_fail(why, RK_ENOMEM, "no memory for a request");
    if (transfer->bytes != NULL)
        transfer->most = ERROR_MOST;
    done = curl_easy_setopt(transfer->easy, CURLOPT_URL, url) == CURLE_OK;
    free(url);
    set_place(transfer, target);
    set_trust(transfer, target->config, credential);
    set_order(transfer, order);
    set_ears(transfer);
    if (!set_headers(transfer, target, credential, order) || !done)
        return rk_fail(why, RK_ENOMEM, "no memory for a request");
    return 0;
}

void transfer_close(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    free(transfer->answer);
    transfer->easy = NULL;
    transfer->headers = NULL;
    transfer->answer = NULL;
    transfer->used = transfer->room = 0;
}

int transfer_code(const struct transfer *transfer)
{
    long code = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &code);
    return (int)code;
}
