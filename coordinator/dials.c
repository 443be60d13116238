/* A tree to find an endpoint by, and a list to walk; see dials.h. */
#include "coordinator/dials.h"

#include "common/number.h"

#include <arpa/inet.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME "tcp://"
#define LONGEST 128u

struct dial {
    struct dial *next, *previous;
    int fd;
    bool marked;
    char endpoint[];
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct dial *)a)->endpoint, ((const struct dial *)b)->endpoint);
}

/* The key is a dial too, so that a lookup needs no memory of its own. */
union key {
    struct dial dial;
    char room[sizeof(struct dial) + LONGEST];
};

static struct dial *find(const struct dials *dials, const char *endpoint)
{
    union key key;
    struct dial *const *found;

    if (strlen(endpoint) >= LONGEST)
        return NULL;
    strcpy(key.room + offsetof(struct dial, endpoint), endpoint);
    found = tfind(&key, &dials->by_endpoint, compare);
    return found ? *found : NULL;
}

/* ADDRESS of 1.2.3.4 or [::1]. */
static bool is_address(const char *text, size_t length)
{
    char address[64];
    uint8_t bytes[16];
    bool bracketed = length > 2 && text[0] == '[' && text[length - 1] == ']';

    if (length >= sizeof address)
        return false;
    memcpy(address, text + bracketed, length - 2 * (size_t)bracketed);
    address[length - 2 * (size_t)bracketed] = '\0';
    return inet_pton(bracketed ? AF_INET6 : AF_INET, address, bytes) == 1;
}

static int check(const char *endpoint, struct rk_why *why)
{
    size_t scheme = strlen(SCHEME);
    const char *colon = strrchr(endpoint, ':');
    uint64_t port;

    if (strncmp(endpoint, SCHEME, scheme) != 0 || strlen(endpoint) >= LONGEST || !colon ||
        colon < endpoint + scheme || !rk_number_parse(colon + 1, 1, UINT16_MAX, &port) ||
        !is_address(endpoint + scheme, (size_t)(colon - endpoint) - scheme))
        return rk_fail(why, RK_EINVAL,
                       "cannot dial \"%.100s\": tcp://ADDRESS:PORT is needed, the address in "
                       "numbers",
                       endpoint);
    return 0;
}

int dials_add(struct dials *dials, const char *endpoint, struct rk_why *why)
{
    int rc = check(endpoint, why);
    struct dial *dial;

    if (rc)
        return rc;
    if (find(dials, endpoint))
        return DIALS_KNOWN;
    dial = calloc(1, sizeof *dial + strlen(endpoint) + 1);
    if (dial)
        strcpy(dial->endpoint, endpoint);
    if (!dial || !tsearch(dial, &dials->by_endpoint, compare)) {
        free(dial);
        return rk_fail(why, RK_ENOMEM, "no memory to dial %s", endpoint);
    }
    dial->fd = -1;
    dial->next = dials->first;
    if (dial->next)
        dial->next->previous = dial;
    dials->first = dial;
    return 0;
}

bool dials_remove(struct dials *dials, const char *endpoint)
{
    struct dial *dial = find(dials, endpoint);

    if (!dial)
        return false;
    tdelete(dial, &dials->by_endpoint, compare);
    if (dial->previous)
        dial->previous->next = dial->next;
    else
        dials->first = dial->next;
    if (dial->next)
        dial->next->previous = dial->previous;
    free(dial);
    return true;
}

void dials_connected(struct dials *dials, const char *endpoint, int fd)
{
    struct dial *dial = find(dials, endpoint);

    if (dial)
        dial->fd = fd;
}

int dials_connection(const struct dials *dials, const char *endpoint)
{
    const struct dial *dial = find(dials, endpoint);

    return dial ? dial->fd : -1;
}

void dials_mark(struct dials *dials, char *const *endpoint, size_t count)
{
    for (struct dial *dial = dials->first; dial; dial = dial->next)
        dial->marked = false;
    for (size_t i = 0; i < count; i++) {
        struct dial *dial = find(dials, endpoint[i]);

        if (dial)
            dial->marked = true;
    }
}

const char *dials_unmarked(const struct dials *dials)
{
    for (const struct dial *dial = dials->first; dial; dial = dial->next)
        if (!dial->marked)
            return dial->endpoint;
    return NULL;
}

void dials_done(struct dials *dials)
{
    while (dials->first)
        dials_remove(dials, dials->first->endpoint);
}
