"""FileSink: credentials as files, for tools that read nothing else. Each change is told to the program that reads them.

What is written is removed when its binding is dropped, and when the sidecar stops. A value that has ended meanwhile stays
there until then: its store refuses it, and says why, where a missing file would be a riddle.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from string import Template

from credbroker.config.settings import BindingSettings, FileSettings, OnChange
from credbroker.credentials import Credential
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.sidecar.bindings import Binding
from credbroker.sidecar.directory import FOLDER
from credbroker.system import tell
from credbroker.system.environment import SystemEnvironment
from credbroker.system.memory_folder import Folder
from credbroker.wire.files import aws_credentials, bearer, filled, parsed_template

logger = logging.getLogger("credbroker.sidecar")


class FileSink:
    """Writes each new value of the bindings that name files, and tells whoever is to be told. It never stops a refresh.

    Members of the declared readers' group may read the files, as they may the tokens.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._kept: dict[str, _Kept] = {}

    def take(self, bindings: Mapping[str, Binding]) -> None:
        """Keep the files of these bindings, and of no others. Raises as ``check_templates`` does, with nothing changed."""
        templates = _templates(bindings)
        before, kept = dict(self._kept), dict[str, _Kept]()
        for name, binding in bindings.items():
            if not binding.settings.files:
                continue
            known = before.pop(name, None)
            if known is None or known.binding is not binding or known.identity != binding.identity:
                if known is not None:
                    # What was issued for more, or for another role, is not left to lie there until the next value comes.
                    same = known.identity == binding.identity
                    known.end(but=binding.settings if same else None)
                known = _Kept(binding, self._folder, templates, binding.identity)
            kept[name] = known
            known.go_on(templates)
            if known.is_empty:
                binding.push_held()  # it may have been issued while nobody here listened
        self._kept = kept
        for dropped in before.values():
            dropped.end()

    def close(self) -> None:
        """Remove every file."""
        kept, self._kept = self._kept, {}
        for one in kept.values():
            one.end()


@dataclass(eq=False, repr=False)
class _Kept:
    """The files of one binding."""

    binding: Binding
    folder: Folder
    templates: Mapping[str, str]
    identity: object
    _value: Credential | None = None
    _ended: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _telling: _Telling | None = None

    def __post_init__(self) -> None:
        if self.binding.settings.on_change is not None:
            self._telling = _Telling(self.binding.settings.on_change, self._note)

    @property
    def is_empty(self) -> bool:
        """Whether no value has come yet."""
        return self._value is None

    def go_on(self, templates: Mapping[str, str]) -> None:
        """By the templates as they are now; where one of ours has changed the value is written once more."""
        with self._lock:
            before, self.templates = self.templates, templates
            if self._value is not None and any(
                before.get(path) != templates.get(path) for path in _template_paths(self.binding)
            ):
                self._write(self._value)
        self.binding.on_change = self.take

    def take(self, value: Credential) -> None:
        """A new value."""
        with self._lock:
            if not self._ended:
                self._value = value
                self._write(value)

    def end(self, *, but: BindingSettings | None = None) -> None:
        """Write no more, and remove the files, but those that another binding writes from now on."""
        with self._lock:
            self._ended, self._value = True, None
            self.binding.on_change = None
            stay = {file.path for file in but.files} if but is not None else set()
            for file in self.binding.settings.files:
                if file.path not in stay:
                    self.binding.files_written = False
                    try:
                        self.folder.remove(_name(file))
                    except CredbrokerError as error:
                        logger.warning("binding %s: %s", self.binding.name, error)

    def _write(self, value: Credential) -> None:
        """All of the files, or, where one of them cannot be made of this value, none."""
        try:
            contents = [(_name(file), self._content(file, value)) for file in self.binding.settings.files]
            for name, content in contents:
                # Who reads it is the folder's to say: on record is where it lies. Without the record it is not written.
                self.binding.hand_over(value, {"protocol": "file", "path": f"{self.folder.path}/{name}"})
                self.folder.write(name, content, group_readable=True)
        except CredbrokerError as error:
            self.binding.files_written = False
            self._note(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold the value, and the refresh goes on
            self.binding.files_written = False
            self._note(f"the files were not written ({type(error).__name__})")
        else:
            self.binding.files_written = True
            self._note(None)
            if self._telling is not None:
                self._telling.start()

    def _content(self, file: FileSettings, value: Credential) -> bytes:
        match file.form:
            case "token":
                return bearer(value)
            case "aws-credentials":
                return aws_credentials(value, self.binding.told_end(value), section=file.profile)
            case "template":
                template = Template(self.templates[file.template or ""])
                return filled(template, value, self.binding.told_end(value))

    def _note(self, fault: str | None) -> None:
        self.binding.files_fault = fault
        if fault is not None:
            logger.warning("binding %s: %s", self.binding.name, fault)


class _Telling:
    """Tells of changes one after another, in a thread of its own: no refresh waits for a command."""

    def __init__(self, how: OnChange, note: Callable[[str | None], None]) -> None:
        self._how = how
        self._note = note
        self._lock = threading.Lock()
        self._due = False
        self._running = False

    def start(self) -> None:
        """Tell of a change soon. Those that come while a command runs are told by one more."""
        with self._lock:
            self._due = True
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._work, name="credbroker-on-change", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._due:
                    self._running = False
                    return
                self._due = False
            fault = self._tell()
            if fault is not None:
                self._note(fault)

    def _tell(self) -> str | None:
        how = self._how
        if how.signal is None or how.pid_file is None:
            return tell.run(how.command)
        return tell.send(how.signal, how.pid_file)


def _name(file: FileSettings) -> str:
    return f"{FOLDER}/{file.path}"


def _template_paths(binding: Binding) -> list[str]:
    return [file.template for file in binding.settings.files if file.template is not None]


def check_templates(bindings: Mapping[str, Binding]) -> None:
    """Read all templates, and change nothing. Raises one ``ConfigurationError`` with all that is wrong with them."""
    _templates(bindings)


def _templates(bindings: Mapping[str, Binding]) -> dict[str, str]:
    """The templates' texts by their paths."""
    texts: dict[str, str] = {}
    faults = []
    for binding in bindings.values():
        for path in _template_paths(binding):
            try:
                texts[path] = _template(path)
            except CredbrokerError as error:
                faults.append(f"{binding.settings.where or f'sidecar.bindings.{binding.name}'}: {error}")
    if faults:
        raise ConfigurationError("\n".join(faults))
    return texts


def _template(path: str) -> str:
    try:
        text = SystemEnvironment().read(path).decode()
    except OSError as error:
        fault = (error.strerror or type(error).__name__).lower()
    except UnicodeDecodeError:
        fault = "it is not UTF-8 text"
    else:
        try:
            parsed_template(text)
        except ConfigurationError as error:
            fault = error.message
        else:
            return text
    raise ConfigurationError(f"the template {path} cannot be used: {fault}")
