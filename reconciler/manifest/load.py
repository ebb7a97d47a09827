"""Loading: files in, validated documents out; everything that is wrong, at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import IO, Any

from msgspec import Struct
from msgspec.structs import replace
from pydantic import BaseModel, ValidationError

from reconciler.errors import ManifestError, Origin, Problem
from reconciler.manifest.complaint import Complaint, complaints, show
from reconciler.manifest.document import Document, Path, place_of
from reconciler.manifest.kinds import api_version, kinds, scope_of
from reconciler.manifest.kinds.endpoint import Endpoint
from reconciler.manifest.kinds.network import Network
from reconciler.manifest.kinds.patch import Patch
from reconciler.manifest.model import API_VERSION
from reconciler.manifest.options import Options
from reconciler.manifest.patch import Identity, applies, apply, targets, written_path
from reconciler.manifest.reader import RawDocument, read_stream
from reconciler.manifest.source import Found, Source, Texts, find
from reconciler.manifest.suggest import meant

MAX_NODES = 2_000_000  # keys and values of all files together
_BY_NAME = ("Network", "Sandbox", "Endpoint", "AddressSet", "Policy", "NetworkPolicy", "Profile", "Contract")
RESERVED = {"Network": ("host", "none"), "Sandbox": ("host",)}


class Manifests(Struct, frozen=True):
    """``documents`` sorted by kind, name and network, patches applied and left out. ``root`` is where the lock file lives."""

    documents: tuple[Document, ...]
    root: FilePath | None


class UnsoundError(ManifestError):
    """``sound`` are the documents without a fault of their own: what is wrong between them can be told in the same run."""

    def __init__(self, problems: Iterable[Problem], sound: tuple[Document, ...] = ()) -> None:
        super().__init__(problems)
        self.sound = sound


class _Draft(Struct):
    """A document on its way: raw, perhaps patched."""

    kind: str
    identity: Identity
    data: Any
    origin: Origin
    positions: Mapping[Path, tuple[int, int]]
    keys: Mapping[Path, tuple[int, int]]
    patched: dict[Path, Origin]  # path -> the patch operation that put it there
    document: Document | None = None  # what it became; of an endpoint, where its network's driver was this
    driver: str = ""


class _File(Struct, frozen=True):
    """What is in a text; ``whole``: all of it could be read."""

    raw: bytes
    raws: Sequence[RawDocument]
    drafts: tuple[_Draft, ...]
    whole: bool


class Memory:
    """What was loaded last, for those who load the same files again and again: a file that did not change is neither
    parsed nor validated again."""

    def __init__(self) -> None:
        self.texts = Texts()
        self.files: dict[str, _File] = {}
        self.drafts: dict[Identity, _Draft] = {}  # of the last load, when all was well
        self.root: FilePath | None = None
        self.patches = True

    def found(self) -> Found:
        """The texts of the last load, when all was well."""
        return Found(tuple(Source(name, file.raw) for name, file in self.files.items()), (), self.root)


class Changes(Struct, frozen=True):
    """Documents that are not there any more, and those that are there now. One that changed is in both."""

    gone: tuple[Document, ...] = ()
    come: tuple[Document, ...] = ()


def load(
    sources: Sequence[str],
    *,
    options: Options,
    node: str = "",
    environment: str | None = None,
    stdin: IO[bytes] | None = None,
    memory: Memory | None = None,
) -> Manifests:
    """Read, patch and validate. ``options`` are the drivers' option models; with ``memory`` only what changed since.

    Raises UnsoundError with all problems of all files.
    """
    memory = memory or Memory()
    found = find(sources, stdin, memory.texts)
    problems = list(found.problems)
    drafts: list[_Draft] = []
    read: list[tuple[str, RawDocument]] = []
    whole = not problems
    nodes = 0
    files: dict[str, _File] = {}
    for source in found.sources:
        file = _read(source, memory, problems)
        files[source.file] = file
        whole = whole and file.whole
        read += [(source.file, raw) for raw in file.raws]
        drafts += file.drafts
        nodes += sum(raw.nodes for raw in file.raws)
        if nodes > MAX_NODES:
            message = f"with this file there are more than {MAX_NODES:,} keys and values in the manifests"
            raise ManifestError([*problems, Problem(Origin(source.file), message)])
    patches = any(draft.kind == "Patch" for draft in drafts)
    if patches:
        drafts = [replace(draft, patched={}) for draft in drafts]
        _patch(drafts, node, environment, problems)
    _refuse_duplicates(drafts, problems)
    documents = []
    chosen: dict[str, str] = {}  # network -> driver, which decides what its endpoints' options may be
    for draft in sorted(drafts, key=lambda draft: draft.kind == "Endpoint"):
        document = _document(draft, options, chosen, problems)
        if document is not None:
            documents.append(document)
            if isinstance(document.model, Network):
                chosen[document.name] = document.model.spec.driver
    memory.files, memory.root = files, found.root
    memory.patches, memory.drafts = patches, {draft.identity: draft for draft in drafts}
    if problems:
        memory.files, memory.drafts, memory.patches = {}, {}, True
    kept = [document for document in documents if not isinstance(document.model, Patch)]
    if problems:
        raise UnsoundError(problems, _sound(kept, read, problems) if whole else ())
    return Manifests(tuple(sorted(kept, key=lambda d: (d.kind, d.name, d.origin.document, d.origin))), found.root)


def _sound(
    documents: Sequence[Document], read: Sequence[tuple[str, RawDocument]], problems: Sequence[Problem]
) -> tuple[Document, ...]:
    """Those of ``documents`` that nothing is wrong with, and that mention none that something is wrong with. Nothing
    where a problem belongs to no document that has a name, or to one that others follow without naming it: whatever
    is missing may be that one."""
    places = sorted((Origin(file, raw.line, raw.column), _name(raw.data)) for file, raw in read)
    unsound: set[str] = set()
    bad: set[Origin] = set()  # where the documents begin that something is wrong with
    for problem in problems:
        at = replace(problem.origin, document="")
        begin, name = max((p for p in places if p[0].file == at.file and p[0] <= at), default=(at, ""))
        if not name:
            return ()
        bad.add(begin)
        unsound.add(name)
    left = [document for document in documents if replace(document.origin, document="") not in bad]
    words = {document.origin: set(_words(document.model.model_dump(exclude={"metadata"}))) for document in left}
    while mentions := [document for document in left if words[document.origin] & unsound]:
        if any(document.kind not in _BY_NAME for document in mentions):
            return ()
        unsound.update(document.name for document in mentions)
        gone = {document.origin for document in mentions}
        left = [document for document in left if document.origin not in gone]
    return tuple(left)


def _name(data: Any) -> str:
    """Of a document whose kind is one that others know by its name only."""
    known = isinstance(data, dict) and data.get("kind") in _BY_NAME
    metadata = data.get("metadata") if known else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _words(data: Any) -> Iterable[str]:
    """Every string in it that is not a key."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _words(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _words(value)


def changes(found: Found, options: Options, memory: Memory, most: int) -> Changes | None:
    """What changed since the last load, document by document, where that is sandboxes and endpoints in at most
    ``most`` bytes of files. None: all is to be loaded, because more changed, or something is wrong and ought to be
    told beside all else that is."""
    if found.problems or memory.patches or found.root != memory.root:
        return None
    texts = {source.file: source for source in found.sources}
    names = [name for name, file in memory.files.items() if name not in texts or texts[name].raw != file.raw]
    names += [name for name in texts if name not in memory.files]
    if sum(len(texts[name].raw) for name in names if name in texts) > most:
        return None
    old = [draft for name in names if name in memory.files for draft in memory.files[name].drafts]
    problems: list[Problem] = []
    files = {name: _read(texts[name], memory, problems) for name in names if name in texts}
    new = [draft for file in files.values() for draft in file.drafts]
    if problems or any(draft.kind not in ("Sandbox", "Endpoint") for draft in (*old, *new)):
        return None
    gone = {draft.identity for draft in old}
    if len({draft.identity for draft in new}) != len(new):
        return None
    if any(draft.identity in memory.drafts and draft.identity not in gone for draft in new):
        return None
    drivers = {
        name: draft.document.model.spec.driver
        for name in {draft.identity[2] for draft in new}
        if (draft := memory.drafts.get(("Network", name, ""))) is not None
        and draft.document is not None
        and isinstance(draft.document.model, Network)
    }
    come = [_document(draft, options, drivers, problems) for draft in new]
    if problems:
        return None
    for name in names:
        memory.files.pop(name, None)
    memory.files |= files
    for draft in old:
        del memory.drafts[draft.identity]
    memory.drafts |= {draft.identity: draft for draft in new}
    return Changes(
        tuple(draft.document for draft in old if draft.document is not None),
        tuple(document for document in come if document is not None),
    )


def _read(source: Source, memory: Memory, problems: list[Problem]) -> _File:
    known = memory.files.get(source.file)
    if known is not None and known.raw == source.raw:
        return known
    stream = read_stream(source.raw, source.file)
    problems += stream.problems
    drafts = tuple(draft for raw in stream.documents if (draft := _draft(raw, source.file, problems)) is not None)
    return _File(source.raw, stream.documents, drafts, stream.whole)


def _document(draft: _Draft, options: Options, drivers: Mapping[str, str], problems: list[Problem]) -> Document | None:
    """What a draft is, validated once as long as its network has the same driver."""
    driver = drivers.get(draft.identity[2], "") if draft.kind == "Endpoint" else ""
    if draft.document is None or draft.driver != driver or draft.patched:
        draft.document, draft.driver = _validate(draft, options, drivers, problems), driver
    return draft.document


def _draft(raw: RawDocument, file: str, problems: list[Problem]) -> _Draft | None:
    """Enough of a look to know what a document claims to be."""
    data = raw.data

    def wrong(key: str, message: str, hint: str) -> None:
        line, column = raw.positions.get((key,), (raw.line, raw.column))
        problems.append(Problem(Origin(file=file, line=line, column=column), message, hint))

    if not isinstance(data, dict):
        wrong(
            "",
            "a document is a mapping with apiVersion, kind, metadata and spec",
            f"begin with 'apiVersion: {API_VERSION}'",
        )
        return None
    kind = data.get("kind")
    expected = api_version(kind) if isinstance(kind, str) and kind in kinds() else API_VERSION
    if data.get("apiVersion") != expected:
        said = (
            f"apiVersion {show(data['apiVersion'])} is not known" if "apiVersion" in data else "there is no apiVersion"
        )
        wrong("apiVersion", said, f"write apiVersion: {expected}")
        return None
    if not isinstance(kind, str) or kind not in kinds():
        said = f"kind {show(kind)} is not known" if "kind" in data else "there is no kind"
        hint = meant(kind, kinds()) if isinstance(kind, str) else f"write one of {', '.join(kinds())}"
        wrong("kind", said, hint)
        return None
    identity = identity_of(kind, data)
    _, name, network = identity
    shown = "/".join(part if len(part) <= 63 else "..." for part in (kind, network, name) if part)
    place = Origin(file=file, line=raw.line, column=raw.column, document=shown)
    if name in RESERVED.get(kind, ()):
        hint = f"write 'stack: {name}' in a Sandbox" if kind == "Network" else "choose another name"
        problems.append(Problem(place, f"{kind} {name} exists by itself and cannot be declared", hint))
    return _Draft(kind, identity, data, place, raw.positions, raw.keys, {})


def identity_of(kind: str, data: Any) -> Identity:
    """What makes a document the one it is; empty strings where the document does not say."""
    metadata = data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    scope = ""
    part, key, default = scope_of(kind)
    if part:
        within = data.get(part)
        value = within.get(key, default) if isinstance(within, dict) else None
        scope = value if isinstance(value, str) else ""
    return kind, name if isinstance(name, str) else "", scope


def _refuse_duplicates(drafts: Sequence[_Draft], problems: list[Problem]) -> None:
    first: dict[Identity, _Draft] = {}
    for draft in sorted(drafts, key=lambda draft: draft.origin):
        other = first.setdefault(draft.identity, draft)
        if other is not draft and draft.identity[1]:
            scope = scope_of(draft.kind)[1]
            where = f" {'on' if scope == 'network' else 'in'} {scope} {draft.identity[2]}" if draft.identity[2] else ""
            problems.append(
                Problem(
                    draft.origin,
                    f"{draft.kind} {draft.identity[1]}{where} is declared twice; the other is at {other.origin}",
                    "remove or rename one of them",
                )
            )


def _patch(drafts: Sequence[_Draft], node: str, environment: str | None, problems: list[Problem]) -> None:
    """Apply the patches in the order of file and position."""
    known = {draft.identity: draft for draft in drafts if draft.kind != "Patch"}
    for draft in sorted((draft for draft in drafts if draft.kind == "Patch"), key=lambda draft: draft.origin):
        try:
            patch = Patch.model_validate(draft.data)
        except ValidationError:
            continue  # told when the document itself is validated
        meant_documents = targets(patch, known)
        target = patch.spec.target
        at = _at(draft, "spec", "target", "name")
        if not meant_documents:
            names = [identity[1] for identity in known if identity[0] == target.kind]
            problems.append(Problem(at, f"there is no {target.kind} {target.name} to patch", meant(target.name, names)))
        elif len(meant_documents) > 1:
            networks = ", ".join(identity[2] for identity in meant_documents)
            problems.append(
                Problem(at, f"endpoint {target.name} exists on several networks: {networks}", "add target.network")
            )
        elif applies(patch, node, environment):
            _patch_one(known[meant_documents[0]], draft, patch, problems)


def _patch_one(target: _Draft, draft: _Draft, patch: Patch, problems: list[Problem]) -> None:
    def report(origin: Origin, message: str, hint: str) -> None:
        problems.append(Problem(origin, message, hint))

    operations = patch.spec.operations
    changed = apply(target.data, operations, lambda number: _at(draft, "spec", "operations", number), report)
    if changed is None:
        return
    target.data = changed
    target.identity = identity_of(target.kind, changed)
    for number, operation in enumerate(operations):
        if operation.op != "test":
            path = written_path(operation.path, changed)
            target.patched[path] = _at(draft, "spec", "operations", number)


def _at(draft: _Draft, *path: str | int) -> Origin:
    return place_of(path, draft.origin, draft.positions, draft.patched)


def _validate(draft: _Draft, options: Options, drivers: Mapping[str, str], problems: list[Problem]) -> Document | None:
    told = {problem.origin for problem in problems if problem.origin.file == draft.origin.file}

    def report(found: Iterable[Complaint], *before: str) -> None:
        for path, message, hint, of_key in found:
            place = _at(draft, *before, *path)
            if of_key and place.file == draft.origin.file and (*before, *path) in draft.keys:
                line, column = draft.keys[(*before, *path)]
                place = replace(place, line=line, column=column)
            if replace(place, document="") not in told:  # what the reader refused is no news
                problems.append(Problem(place, message, hint))

    try:
        model = kinds()[draft.kind].model_validate(draft.data)
    except ValidationError as error:
        report(complaints(error, kinds()[draft.kind], draft.data))
        return None
    kind: type[BaseModel] | None = None
    if isinstance(model, Network):
        if model.spec.driver not in options:
            message = f"there is no driver {show(model.spec.driver)}"
            report([Complaint(("spec", "driver"), message, meant(model.spec.driver, options))])
            return None
        kind = options[model.spec.driver].network
    elif isinstance(model, Endpoint) and model.spec.network in drivers:
        kind = options[drivers[model.spec.network]].endpoint
    chosen = None
    if kind is not None:
        written = model.spec.options  # type: ignore[attr-defined]  # a Network or an Endpoint
        try:
            chosen = kind.model_validate(written)
        except ValidationError as error:
            report(complaints(error, kind, written), "spec", "options")
            return None
    return Document(model=model, origin=draft.origin, positions=draft.positions, options=chosen, patched=draft.patched)
