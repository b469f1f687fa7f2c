"""Errors of our own: one line each, naming the file or setting, the stage and the way out.

AttributionError                exit 1
├── SettingsError               a setting or the environment
├── ContractError               _exports.yml itself
├── LoadError                   a landing folder or the warehouse while loading
├── QuarantineError             what was refused, and what an operator says of it
├── StepError                   a step met something that it does not foresee: a full disk, say
├── ArchiveError                the archive's journal is not what was written
├── RebuildError                the archive cannot become a warehouse
├── EraseError                  erasing a customer, and the list of those erased
├── BuildError                  dbt refused a model or a test
├── InvalidPaths                a path file, or statistics that contradict themselves
├── ModelError                  a model cannot answer
│   ├── NoConversions
│   ├── NoTouchpoints
│   ├── ModelRefused            what there is cannot carry the model; the night goes on without it
│   └── ConvergenceError
├── PublishError                candidate versions, the swap, rollback
├── OutOfOrder                  a step was called before the step to its left
├── UsageError                  exit 2: the command line
├── GateRefused                 exit 3: an expectation was not met
└── LockHeld                    exit 75: another run holds the lock

Stopped                         no error: Ctrl-C or SIGTERM; exit 1
ApproximationWarning            no error: a model sampled where it cannot be exact
"""


class Stopped(SystemExit):
    """Somebody asked the command to stop, by Ctrl-C or SIGTERM.

    No KeyboardInterrupt: one that passes through code which is being compiled makes the interpreter
    end by a signal, whatever was done about it. dbt cancels what it does on either.
    """


class AttributionError(Exception):
    """Base of every error that the command line prints as one line.

    may_pass : whether the same step may succeed later without anybody's doing (a full disk, a share
        that is away, a lock that is held), so that a scheduler does well to try again.
    """

    exit_code = 1
    may_pass = False


class SettingsError(AttributionError):
    pass


class ContractError(AttributionError):
    pass


class Unreadable(Exception):
    """A file as a whole cannot be read; its text is the reason to quarantine it."""


class ArchiveError(AttributionError):
    pass


class LoadError(AttributionError):
    may_pass = True


class QuarantineError(AttributionError):
    pass


class StepError(AttributionError):
    def __init__(self, message: str, *, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class RebuildError(AttributionError):
    pass


class EraseError(AttributionError):
    pass


class BuildError(AttributionError):
    pass


class InvalidPaths(AttributionError):
    pass


class ModelError(AttributionError):
    pass


class NoConversions(ModelError):
    pass


class NoTouchpoints(ModelError):
    pass


class ModelRefused(ModelError):
    pass


class ConvergenceError(ModelError):
    pass


class PublishError(AttributionError):
    may_pass = True


class OutOfOrder(AttributionError):
    pass


class UsageError(AttributionError):
    exit_code = 2


class GateRefused(AttributionError):
    exit_code = 3


class LockHeld(AttributionError):
    exit_code = 75
    may_pass = True


class ApproximationWarning(UserWarning):
    """A result was sampled where an exact one would be too dear; diagnostics say how far off."""
