"""One run of a scenario under a seed, and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mkrpc.scenarios.scenario import Scenario, settings_of
from mkrpc.scenarios.stage import Chance, Stage

__all__ = ["Played", "play"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """``findings``: what the scenario's checker found wrong, a line each. ``broken``: what must
    hold in any scenario and did not. Equal digests are equal runs.
    """

    seed: int
    settings: dict[str, str]
    findings: tuple[str, ...]
    broken: tuple[str, ...]
    ticks: int
    digest: str


def play(
    scenario: type[Scenario],
    seed: int,
    make_chance: Callable[[int], Chance],
    *,
    changes: Mapping[str, str],
    tell: Callable[[str], None] | None = None,
) -> Played:
    """Play it once, with the settings of its defect and ``changes``.

    The same seed, scenario and settings are the same run. Raises InvalidArgumentError for switches
    that it does not have, and what the scenario itself raises.
    """
    settings = settings_of(scenario, changes)
    stage = Stage(make_chance(seed), settings, tell=tell)
    played = scenario(stage)
    played.play()
    findings = tuple(played.check())
    for finding in findings:
        stage.tell(finding)
    return Played(
        seed=seed,
        settings=settings,
        findings=findings,
        broken=tuple(_broken(stage)),
        ticks=stage.ticks,
        digest=stage.digest,
    )


def _broken(stage: Stage) -> list[str]:
    """The books balance and no kernel has had an oops, whatever a scenario is about."""
    lines = [*stage.broken, *(f"the books: {line}" for line in stage.machine.bus.balance())]
    for kernel in stage.machine.kernels.values():
        if kernel.oops_count:
            texts = [record.text for record in kernel.log.since(0)]
            oops = next((text for text in texts if text.startswith("Oops")), "an oops")
            lines.append(f"{kernel.config.name}: {oops}")
    return lines
