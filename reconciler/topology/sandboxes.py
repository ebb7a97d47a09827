"""Sandbox documents: which stacks there are, and whose each one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.manifest.document import Document
from reconciler.manifest.kinds.sandbox import ContainerStack, DockerStack, PathStack, PidStack, Sandbox
from reconciler.manifest.suggest import meant
from reconciler.topology.derive import digest
from reconciler.topology.view import NodeView, SandboxView

if TYPE_CHECKING:
    from reconciler.topology.resolve import Problems


def slashed(name: str) -> str:
    """A sysctl's name as a path below /proc/sys: ``net.ipv4.ip_forward`` and ``net/ipv4/ip_forward`` are the same."""
    first = min((at for at in (name.find("."), name.find("/")) if at >= 0), default=-1)
    return name.replace(".", "/") if first >= 0 and name[first] == "." else name


# The kernel keeps one value under two names; under both at once they would undo each other.
_SAME = {"net/ipv4/conf/all/forwarding": "net/ipv4/ip_forward"}


def _sysctls(document: Document, written: Mapping[str, str], problems: Problems) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in written.items():
        path = slashed(name)
        path = _SAME.get(path, path)
        if path in found:
            at = document.at("spec", "sysctls", name)
            problems.add(at, f"{path} is written twice, under two names", "leave one of them out")
        found[path] = value
    return found


def resolve_sandboxes(
    documents: Sequence[Document], nodes: Sequence[NodeView], here: str, problems: Problems
) -> dict[str, SandboxView]:
    """All sandboxes of all nodes by name."""
    views = {document.name: _view(document, nodes, here, problems) for document in documents}
    places: dict[tuple[str, str, str], SandboxView] = {}
    for document in documents:
        view = views[document.name]
        if view.stack == "container":
            views[document.name] = _shared(document, view, views, problems)
        elif view.stack in ("path", "pid", "docker"):
            other = places.setdefault((view.node, view.stack, view.target), view)
            if other is not view:
                problems.add(
                    document.at("spec", "stack"),
                    f"sandbox {view.name} is the same namespace as sandbox {other.name}",
                    f"share it instead: stack: {{container: {other.name}}}",
                )
    return views


def _view(document: Document, nodes: Sequence[NodeView], here: str, problems: Problems) -> SandboxView:
    model = document.model
    assert isinstance(model, Sandbox)
    spec = model.spec
    stack, target = "", ""
    match spec.stack:
        case PathStack(path=target):
            stack = "path"
        case PidStack(pid=pid):
            stack, target = "pid", str(pid)
        case DockerStack(docker=target):
            stack = "docker"
        case ContainerStack(container=target):
            stack = "container"
        case _:
            stack = spec.stack
    made = stack in ("netns", "none")
    netns = "" if stack == "host" else document.name
    if stack in ("path", "pid", "docker"):
        # Another process, another namespace: what we left in the one before must still have a name of its own.
        netns = f"{document.name}.{digest(stack, target)[:3].hex()}"
    return SandboxView(
        name=document.name,
        node=_node(document, spec.node, nodes, here, problems),
        stack=stack,
        target=target,
        netns=netns,
        made=made,
        labels=dict(model.metadata.labels),
        sysctls=_sysctls(document, spec.sysctls, problems),
        origin=document.origin,
        namespace=spec.namespace,
        ports=tuple((port.name, port.protocol, port.port) for port in spec.ports),
        dns_servers=tuple(spec.dns.servers) if spec.dns.servers is not None else None,
        dns_search=tuple(spec.dns.search),
    )


def _node(document: Document, node: str | None, nodes: Sequence[NodeView], here: str, problems: Problems) -> str:
    names = [view.name for view in nodes]
    if node is not None:
        if names and node not in names:
            problems.add(document.at("spec", "node"), f"there is no Node {node!r}", meant(node, names))
        elif not names and node != here:
            problems.add(
                document.at("spec", "node"),
                f"sandbox {document.name} is on node {node!r}, but there are no Node documents",
                f"add a Node document named {node}, or leave spec.node out",
            )
        return node
    if len(names) > 1:
        problems.add(
            document.at("spec"),
            f"sandbox {document.name} does not say which node it is on",
            f"add spec.node: one of {', '.join(names)}",
        )
    return names[0] if names else here


def _shared(document: Document, view: SandboxView, views: Mapping[str, SandboxView], problems: Problems) -> SandboxView:
    """A sandbox that shares another's stack: follow the chain to whoever owns it."""
    at = document.at("spec", "stack", "container")
    seen = [view.name]
    owner = view
    while owner.stack == "container":
        following = views.get(owner.target)
        if following is None:
            if owner is view:
                problems.add(at, f"there is no sandbox {owner.target!r}", meant(owner.target, views))
            return view
        if following.name in seen:
            circle = seen[seen.index(following.name) :]
            if view.name == min(circle):  # told once
                problems.add(
                    at,
                    f"sandboxes share each other's stack in a circle: {' -> '.join([*circle, following.name])}",
                    "give one of them a stack of its own",
                )
            return view
        seen.append(following.name)
        owner = following
    if owner.node != view.node:
        problems.add(
            at,
            f"sandbox {owner.name} is on node {owner.node}, this one on {view.node}: they cannot share a stack",
            f"write 'node: {owner.node}', or give it a stack of its own",
        )
    if view.sysctls:
        problems.add(
            document.at("spec", "sysctls"),
            f"sandbox {view.name} shares the stack of {owner.name} and has no sysctls of its own",
            f"set them on sandbox {owner.name}",
        )
    return replace(view, netns=owner.netns)
