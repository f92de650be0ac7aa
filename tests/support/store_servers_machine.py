"""Three servers on one store, driven at random: single steps, and stories of many.

A story makes it likely that something comes to an end, or to a rare state; the steps between see to
it that none is told as it was meant.
"""

from hypothesis import stateful
from hypothesis import strategies as st

from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.lookup import Policy
from support.store_servers_base import LONG_SECONDS, SCOPES
from support.store_servers_look import NAMES
from support.store_servers_process import Server
from support.store_servers_steps import ASKED, EXITS, OUTPUTS, WHICH, WHO, ServersSteps
from support.store_servers_world import LOST, Exit

A_DAY_SECONDS = 86_400.0
_of_two = st.sampled_from((0, 1))


class ServersMachine(ServersSteps):
    """All of it."""

    @stateful.rule(who=WHO, asked=ASKED)
    def accept_and_launch(self, who: int, asked: list[tuple[str, Policy]]) -> None:
        """What mostly happens: nothing comes between."""
        self.prepared.clear()
        self.prepare(who=who, asked=asked)
        self.accept(who=who)
        self.claim(who=who, limit=9)
        self.do_a_step(who=who, step=Server.launch)

    @stateful.rule(who=WHO, asked=ASKED, how=EXITS)
    def run_to_an_end(self, who: int, asked: list[tuple[str, Policy]], how: Exit) -> None:
        self.accept_and_launch(who=who, asked=asked)
        for _ in range(len(NAMES)):
            self.end_a_process(which=0, how=how)
        self._take_in(who)

    @stateful.rule(
        who=WHO, asked=ASKED, which=WHICH, seconds=st.sampled_from((LONG_SECONDS, -A_DAY_SECONDS))
    )
    def lose_and_try_again(
        self, who: int, asked: list[tuple[str, Policy]], which: int, seconds: float
    ) -> None:
        """A run is lost, its retry runs, and the loss is told once more."""
        self.run_to_an_end(who=who, asked=asked, how=LOST)
        self.let_time_pass(seconds=seconds)
        self.claim(who=who, limit=9)
        self.do_a_step(who=who, step=Server.launch)
        self.report_again(who=who, which=which)

    @stateful.rule(who=WHO, asked=ASKED)
    def cancel_what_is_lost(self, who: int, asked: list[tuple[str, Policy]]) -> None:
        self.accept_and_launch(who=who, asked=asked)
        self.cancel(who=(who + 1) % len(SCOPES), names=sorted({name for name, _ in asked}))
        for scope in SCOPES:
            self.lose_the_runner(scope=scope)
        self._take_in(who)

    @stateful.rule(who=_of_two, asked=ASKED, is_cancelled=st.booleans())
    def fall_silent(self, who: int, asked: list[tuple[str, Policy]], *, is_cancelled: bool) -> None:
        """One is stopped for longer than its lease, and another takes over what it runs."""
        self.accept_and_launch(who=who, asked=asked)
        self.stop(who=who)
        if is_cancelled:
            self.cancel(who=1 - who, names=sorted({name for name, _ in asked}))
        self.let_time_pass(seconds=LONG_SECONDS)
        self.look(who=1 - who)

    @stateful.rule(who=_of_two, asked=ASKED, which=WHICH)
    def come_back_late(self, who: int, asked: list[tuple[str, Policy]], which: int) -> None:
        """One that was taken for dead takes what it had for lost, and asks for more."""
        self.fall_silent(who=who, asked=asked, is_cancelled=False)
        self.go_on()
        self.report_of_another(who=who, which=which, event=Event.LOST)
        self.accept_and_launch(who=who, asked=asked)

    @stateful.rule(who=WHO, asked=ASKED, which=WHICH)
    def delete_what_is_asked_for(
        self, who: int, asked: list[tuple[str, Policy]], which: int
    ) -> None:
        """Between looking a batch up and accepting it, something that it may need goes."""
        self.prepared.clear()
        self.prepare(who=who, asked=asked)
        name, _ = asked[which % len(asked)]
        what = f"input of {name}" if which % 2 else OUTPUTS[which % len(OUTPUTS)]
        self.begin_to_delete(who=(who + 1) % len(SCOPES), what=what)
        self.accept(who=who)

    @stateful.rule(
        who=WHO, asked=ASKED, output=st.sampled_from(OUTPUTS), again=st.booleans(), how=EXITS
    )
    def delete_an_output(
        self, who: int, asked: list[tuple[str, Policy]], output: str, how: Exit, *, again: bool
    ) -> None:
        """An output goes, while something ends that may have the same one."""
        kept = Exit(event=Event.SUCCEEDED, output=output, is_inline=False)
        self.run_to_an_end(who=who, asked=asked, how=kept)
        self.begin_to_delete(who=who, what=output)
        if again:
            self.run_to_an_end(who=who, asked=asked, how=how)
        self.end_deletions(who=who)

    def _take_in(self, who: int) -> None:
        for step in (Server.listen, Server.record):
            self.do_a_step(who=who, step=step)
