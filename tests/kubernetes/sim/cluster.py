"""The parts of a cluster around the API server, as a test has chosen them."""
from . import collector, definitions, jobs, kubelet, namespaces, nodes, podcalls, scheduler


def begin(world, node_count=0):
    """Starts the controllers, and makes nodes."""
    config, parts = world.config, world.controllers
    definitions.Definitions(world)
    namespaces.begin(world)
    parts["objects"] = podcalls.ObjectCalls(world)
    if config.garbage_collector:
        parts["collector"] = collector.Collector(world)
    if config.jobs:
        parts["jobs"] = jobs.Jobs(world)
    if config.scheduler:
        parts["scheduler"] = scheduler.Scheduler(world)
    if config.kubelet != "none":
        parts["kubelet"] = kubelet_of(world)
    parts["nodes"] = nodes.Nodes(world)
    for number in range(node_count):
        parts["nodes"].add(f"node-{number}")


def kubelet_of(world):
    """The kubelet that a test has chosen."""
    if world.config.kubelet == "process":
        from . import processes

        return processes.ProcessKubelet(world)
    return kubelet.Kubelet(world)
