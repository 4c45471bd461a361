"""What ``from mode import *`` brings, module by module, where structmode's module has more names than mode's.

All others bring what structmode's do. A name that mode does not have must not come along: it would hide what a program has
under it, such as `asyncio.run`.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ("names_for_star",)

_NAMES: Mapping[str, str] = {
    "mode": (
        "BaseSignal BaseSignalT CrashingSupervisor ForfeitOneForAllSupervisor ForfeitOneForOneSupervisor "
        "OneForAllSupervisor OneForOneSupervisor Seconds Service ServiceT Signal SignalT SupervisorStrategy "
        "SupervisorStrategyT SyncSignal SyncSignalT Worker flight_recorder get_logger label setup_logging shortlabel "
        "task timer want_seconds"
    ),
    "mode.exceptions": "MaxRestartsExceeded",
    "mode.services": "Diag Service ServiceBase crontab task timer",
    "mode.supervisors": (
        "ForfeitOneForAllSupervisor ForfeitOneForOneSupervisor OneForAllSupervisor OneForOneSupervisor "
        "SupervisorStrategy"
    ),
    "mode.threads": "QueueServiceThread QueuedMethod ServiceThread WorkerThread",
    "mode.types.supervisors": "SupervisorStrategyT",
    "mode.utils.cron": "secs_for_next",
    "mode.utils.futures": (
        "all_tasks current_task done_future maybe_async maybe_cancel maybe_set_exception maybe_set_result notify "
        "stampede"
    ),
    "mode.utils.graphs": "DependencyGraph GraphFormatter",
    "mode.utils.graphs.formatter": "DOT GraphFormatter dedent dedent_initial",
    "mode.utils.imports": (
        "FactoryMapping SymbolArg cwd_in_path import_from_cwd load_extension_class_names load_extension_classes "
        "smart_import symbol_by_name"
    ),
    "mode.utils.logging": (
        "CompositeLogger ExtensionFormatter FileLogProxy FormatterHandler LogSeverityMixin Logwrapped Severity cry "
        "flight_recorder formatter formatter2 get_logger level_name level_number redirect_logger redirect_stdouts "
        "setup_logging"
    ),
    "mode.utils.mocks": (
        "ANY AsyncContextMock AsyncMagicMock AsyncMock ContextMock FutureMock IN MagicMock Mock call mask_module patch "
        "patch_module"
    ),
    "mode.utils.objects": (
        "DefaultsMapping FieldMapping InvalidAnnotation KeywordReduce Unordered abc_compatible_with_init_subclass "
        "annotations cached_property canoname canonshortname eval_type guess_polymorphic_type iter_mro_reversed label "
        "qualname shortlabel shortname"
    ),
    "mode.utils.queues": "FlowControlEvent FlowControlQueue ThrowableQueue",
    "mode.utils.times": "Bucket Seconds TokenBucket humanize_seconds humanize_seconds_ago rate rate_limit want_seconds",
    "mode.utils.tracebacks": "Traceback format_task_stack print_task_stack",
    "mode.utils.trees": "Node",
}


def names_for_star(mode_name: str) -> list[str] | None:
    """Return the names that a module of mode's has for a star, if these are not all that structmode's has."""
    names = _NAMES.get(mode_name)
    return None if names is None else names.split()
