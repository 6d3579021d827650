"""`generate` for engines that have `answer`."""

from collections.abc import Sequence

from align.generate.engine import Completion, Conversation, Failure, Progress, Sampling
from align.generate.errors import GenerationError


class Answering:
    """Gives an engine its `generate`: all answers or an error, in the order of the prompts."""

    def generate(
        self,
        prompts: list[Conversation],
        *,
        n: int,
        sampling: Sampling,
        seed: int,
        on_progress: Progress | None = None,
    ) -> list[list[Completion]]:
        """`n` completions for each prompt. Raises GenerationError if any request failed."""
        if n < 1:
            raise GenerationError(f"n is {n}: ask for at least one completion a prompt")
        found: list[Completion | None] = [None] * (len(prompts) * n)
        num_done = 0

        def take(answers: Sequence[tuple[int, Completion | Failure]]) -> None:
            nonlocal num_done
            for place, answer in answers:
                if isinstance(answer, Failure):
                    raise GenerationError(
                        f"prompt {place // n}: {answer.reason}: {answer.detail or 'no answer'}"
                    )
                found[place] = answer
            num_done += len(answers)
            if on_progress:
                num_tokens = sum(found[place].num_tokens for place, _ in answers)
                on_progress(num_done // n, len(prompts), num_tokens)

        self.answer(
            [prompt for prompt in prompts for _ in range(n)],
            list(range(n)) * len(prompts),
            sampling=sampling,
            seed=seed,
            on_answers=take,
        )
        return [found[start : start + n] for start in range(0, len(found), n)]
