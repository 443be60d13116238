/* The image that this operator runs from, under the name that this cluster pulls it by: whoever
 * installed it has said it once, and it is the one that brings the agent as well; see controller.h.
 */
#include "launch/operator/controller.h"

#include "common/log.h"
#include "k8s/client/address.h"
#include "k8s/client/request.h"
#include "launch/surroundings.h"

#include <stdlib.h>
#include <string.h>

#define POD_NAME "REKNIT_POD_NAME"
#define CONTAINER "operator"
#define DEADLINE (300 * RK_S) /* an API server may be long in coming up */
#define TRIES 1000u

/* Of the container with our name, among those that a mesh may have added; else of the first. */
static const char *image_of(const json_t *pod)
{
    const json_t *list = json_object_get(json_object_get(pod, "spec"), "containers");
    const json_t *ours = json_array_get(list, 0);
    size_t index;
    json_t *container;

    json_array_foreach(list, index, container)
    {
        const char *name = json_string_value(json_object_get(container, "name"));

        if (name != NULL && strcmp(name, CONTAINER) == 0)
            ours = container;
    }
    return json_string_value(json_object_get(ours, "image"));
}

static int ask(struct controller *controller, struct rk_why *why);

static void on_pod(void *who, const struct response *response)
{
    struct controller *controller = who;
    const char *image = response->rc == 0 ? image_of(response->body) : NULL;
    bool is_away = response->rc == RK_ETIMEDOUT || response->rc == RK_EUNAVAILABLE;

    controller->asked = NULL;
    if (is_away && ask(controller, NULL) == 0)
        return;
    controller->own_image = image != NULL ? strdup(image) : NULL;
    controller->given.plan.own_image = controller->own_image;
    controller->image_known = true;
    if (controller->own_image != NULL)
        rk_info("jobs that name no image get %s", image);
    else
        rk_warn("jobs that name no image get %s, since the image of our own pod is not known: %s",
                render_default_image(), response->rc != 0 ? response->why : "it says none");
    stock_settle(controller);
}

static int ask(struct controller *controller, struct rk_why *why)
{
    const char *name = surroundings_get(POD_NAME);
    struct request_spec spec = {
        .verb = VERB_GET, .deadline = DEADLINE, .tries = TRIES, .done = on_pod, .who = controller};

    spec.path = api_path("v1", api_namespace(controller->api), "pods", name, NULL);
    return api_send(controller->api, &spec, &controller->asked, why);
}

int image_open(struct controller *controller, struct rk_why *why)
{
    const char *name = surroundings_get(POD_NAME);

    controller->image_known = controller->given.plan.image != NULL || name == NULL || *name == '\0';
    return controller->image_known ? 0 : ask(controller, why);
}

void image_close(struct controller *controller)
{
    request_cancel(controller->asked);
    free(controller->own_image);
}
