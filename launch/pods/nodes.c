/* What the cluster says of its nodes, where the coordinator may look; see shell.h.
 *
 * The Role of a namespace gives no right to nodes, and none is needed: agents fall silent, and the
 * cluster marks the pods of a lost node.  Where an administrator lets coordinators look
 * (k8s/deploy/nodes), a node that is gone, or out of service, ends its pods at once, and objects
 * are removed by force only from nodes that are known to be lost. */
#include "launch/pods/shell.h"

#include "common/log.h"
#include "k8s/client/address.h"
#include "k8s/client/object.h"

#include <string.h>

#define OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

static bool has(const json_t *object, const char *key, const char *value)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL && strcmp(text, value) == 0;
}

/* Ready is Unknown when its kubelet was not heard of for 40 s.  False says that the kubelet lives
 * and takes no new pods: those that it has may go on. */
static enum pods_node state_of(const json_t *node)
{
    const json_t *taints = json_object_get(json_object_get(node, "spec"), "taints");
    const json_t *conditions = json_object_get(json_object_get(node, "status"), "conditions");
    const json_t *item;
    size_t i;

    json_array_foreach(taints, i, item)
    {
        if (has(item, "key", OUT_OF_SERVICE))
            return PODS_NODE_GONE;
    }
    json_array_foreach(conditions, i, item)
    {
        if (has(item, "type", "Ready") && has(item, "status", "Unknown"))
            return PODS_NODE_LOST;
    }
    return PODS_NODE_READY;
}

static void feed(struct shell *shell, const json_t *node, enum pods_node state)
{
    struct pods_event event = {.kind = PODS_EV_NODE, .name = object_name(node), .node = state};

    if (state != PODS_NODE_READY)
        rk_info("node %s is %s", event.name, state == PODS_NODE_GONE ? "gone" : "lost");
    cluster_step(shell, &event);
}

static void on_node(void *who, const json_t *node, const json_t *old)
{
    enum pods_node state = state_of(node);

    if (old == NULL ? state != PODS_NODE_READY : state != state_of(old))
        feed(who, node, state);
}

static void on_node_gone(void *who, const json_t *old)
{
    feed(who, old, PODS_NODE_GONE);
}

static void on_trouble(void *who, int code, const char *why)
{
    struct shell *shell = who;

    if (code == 401 || code == 403)
        shell->nodes_refused = true; /* not from inside of a callback of the watch */
    else
        rk_warn("the watch of the nodes: %s", why);
}

void nodes_open(struct shell *shell)
{
    struct watch_spec spec = {
        .events = {.upsert = on_node, .delete = on_node_gone, .trouble = on_trouble}, .who = shell};
    struct rk_why why = {""};

    spec.path = api_path("v1", NULL, "nodes", NULL, NULL);
    if (watch_open(shell->api, &spec, &shell->nodes, &why) != 0)
        rk_warn("nodes are not watched: %s", why.text);
}

void nodes_turn(struct shell *shell)
{
    if (!shell->nodes_refused)
        return;
    rk_info("nodes are not watched, the coordinator has no right to: what pods and agents say is "
            "enough");
    shell->nodes_refused = false;
    nodes_close(shell);
}

void nodes_close(struct shell *shell)
{
    watch_close(shell->nodes);
    shell->nodes = NULL;
}
