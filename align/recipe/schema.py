"""What a recipe may say: a typed class for each stage kind.

A field that names another stage is annotated with `Ref`, which says what that stage must make.
Those references are the graph. Each class has a `VERSION`, raised when the stage's meaning changes,
so that finished artifacts of the older meaning are made again.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


@dataclass(frozen=True)
class Ref:
    """This string names a stage that makes one of `artifacts` (or a file or hub id: `or_path`)."""

    artifacts: frozenset[str]
    or_path: bool = False


@dataclass(frozen=True)
class FilePath:
    """This string names a file or folder relative to the recipe; its content is fingerprinted."""


@dataclass(frozen=True)
class FunctionName:
    """This string names a function: a known name, `file.py:name` or `package.module:name`."""


def _ref(*artifacts: str, or_path: bool = False) -> Any:
    return Annotated[str, Ref(frozenset(artifacts), or_path)]


ModelRef = _ref("model")
EngineRef = _ref("model", "engine")
CorpusRef = _ref("corpus")
PromptsRef = _ref("corpus", "prompts", "reward_model")
SftRef = _ref("sft_data", or_path=True)
PreferenceRef = _ref("preference_data", or_path=True)
DataRef = _ref("sft_data", "preference_data", or_path=True)
CorpusPath = _ref("corpus", or_path=True)
RewardRef = _ref("reward_model", or_path=True)
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


SOURCES = ("prompts", "data", "corpus")
"""What a synthesis may start from."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Launch(Strict):
    """How a training stage is started; more than one process goes through `accelerate launch`."""

    num_processes: Positive = 1
    accelerate_config: Annotated[str, FilePath()] | None = None


class Sampling(Strict):
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    max_tokens: Positive = 256


class Prompts(Strict):
    """Rows `skip` to `skip + limit` of another stage's prompts. A bare string is `source`."""

    source: PromptsRef
    skip: Annotated[int, Field(ge=0)] = 0
    limit: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class Stage(Strict):
    """Fields of every stage."""

    VERSION: ClassVar[int] = 1
    ARTIFACT: ClassVar[str]
    CONFIG_CLASS: ClassVar[str | None] = None  # the class that `args:` is checked against
    MULTI_PROCESS: ClassVar[bool] = False
    kind: str
    launch: Launch | None = None

    @property
    def artifact(self) -> str:
        return self.ARTIFACT


class Training(Stage):
    MULTI_PROCESS: ClassVar[bool] = True
    args: dict[str, Any] = {}


class Problems(Strict):
    """Numbers of documents and problems of the corpus, and how the documents answer them."""

    kinds: list[str] | None = None
    documents: Positive
    prompts: Positive
    heldout: Positive
    worked: Share = 0.5
    blurted_wrong: Share = 0.5


class Corpus(Stage):
    """Worked and blurted problems beside English prose; also the prompts and held-out problems."""

    ARTIFACT: ClassVar[str] = "corpus"
    kind: Literal["corpus"]
    problems: Problems
    prose_characters: Positive
    prose_heldout_characters: Positive = 40_000


class Tokenizer(Stage):
    """A byte-level BPE tokenizer trained on a corpus."""

    ARTIFACT: ClassVar[str] = "tokenizer"
    kind: Literal["tokenizer"]
    corpus: CorpusRef
    vocab_size: Annotated[int, Field(ge=280)] = 512


class Pretrain(Training):
    """A model from nothing. `architecture` is a preset's name and fields that differ from it."""

    VERSION: ClassVar[int] = 2
    ARTIFACT: ClassVar[str] = "model"
    CONFIG_CLASS: ClassVar[str | None] = "PretrainConfig"
    kind: Literal["pretrain"]
    corpus: CorpusRef
    tokenizer: _ref("tokenizer")
    architecture: dict[str, Any] = {"preset": "tiny"}
    seq_len: Annotated[int, Field(ge=2)] = 256


class Model(Stage):
    """A model folder or hub id to start from."""

    ARTIFACT: ClassVar[str] = "model"
    kind: Literal["model"]
    path: Annotated[str, FilePath()]
    revision: str | None = None
    chat_template: Annotated[str, FilePath()] | None = None


class Upcycle(Stage):
    """A mixture of experts from a dense model, as Qwen2's was made (arXiv 2407.10671, section
    2.2.2); SFT or pretraining goes on from it."""

    ARTIFACT: ClassVar[str] = "model"
    ARCHITECTURE: ClassVar[tuple[str, ...]] = (
        "num_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "shared_expert_intermediate_size",
        "norm_topk_prob",
        "router_aux_loss_coef",
        "router_z_loss_coef",
        "balance_over",
    )
    kind: Literal["upcycle"]
    model: ModelRef
    num_experts: Annotated[int, Field(ge=2)]
    num_experts_per_tok: Annotated[int, Field(ge=1)]
    moe_intermediate_size: Annotated[int, Field(ge=1)]
    shared_expert_intermediate_size: Annotated[int, Field(ge=0)] = 0
    norm_topk_prob: bool = True
    router_aux_loss_coef: Annotated[float, Field(ge=0)] = 0.001
    router_z_loss_coef: Annotated[float, Field(ge=0)] = 0.0
    balance_over: Literal["micro_batch", "global_batch"] = "global_batch"
    reinitialised: Annotated[float, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _enough_experts(self) -> "Upcycle":
        if self.num_experts_per_tok > self.num_experts:
            raise ValueError(
                f"num_experts_per_tok {self.num_experts_per_tok} is above num_experts "
                f"{self.num_experts}"
            )
        return self


class Server(Stage):
    """A model behind an OpenAI-compatible server. The key is read from an environment variable."""

    ARTIFACT: ClassVar[str] = "engine"
    kind: Literal["server"]
    url: str
    model: str
    api_key_env: str | None = None
    label: str | None = None
    served_as: str | None = None
    follows_schemas: bool = True
    max_concurrency: Positive = 256
    timeout_s: Annotated[float, Field(gt=0)] = 600.0
    retries: Annotated[int, Field(ge=0)] = 5


class Replay(Stage):
    """Answers from a file, for examples and for runs that must ask nobody."""

    ARTIFACT: ClassVar[str] = "engine"
    kind: Literal["replay"]
    answers: Annotated[str, FilePath()]


class PromptSet(Stage):
    """Prompts from a JSONL or parquet file or a hub data set, split into prompts and held-out."""

    VERSION: ClassVar[int] = 3
    ARTIFACT: ClassVar[str] = "prompts"
    kind: Literal["prompts"]
    source: Annotated[str, FilePath()]
    subset: str | None = None
    split: str = "train"
    prompt: str = "prompt"
    answer: str | None = "answer"
    solution: str | None = None
    limit: Positive | None = None
    heldout: Annotated[int, Field(ge=0)] = 200


class Synth(Stage):
    """Rows from a model. Keys beyond these are the method's own settings.

    It starts from one of `prompts`, `data` (rows of SFT or preference data) and `corpus` (a file or
    folder of texts or other raw rows). The models beside `model`, and files, are settings of some
    methods.
    """

    VERSION: ClassVar[int] = 3
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    kind: Literal["synth"]
    method: str
    model: EngineRef
    engine: Literal["local", "vllm"] = "local"
    engine_args: dict[str, Any] = {}
    prompts: Prompts | None = None
    data: list[DataRef] | None = None
    corpus: CorpusPath | None = None
    verifier: Annotated[str, FunctionName()] | None = None
    sampling: Sampling = Sampling()
    output: Literal["sft", "preference", "prompts"] = "sft"
    judge: EngineRef | None = None
    judges: list[EngineRef] | None = None
    reasoner: EngineRef | None = None
    embedder: EngineRef | None = None
    reward: _ref("reward_model") | None = None
    constitution: Annotated[str, FilePath()] | None = None
    templates: Annotated[str, FilePath()] | None = None
    seeds: Annotated[str, FilePath()] | None = None
    decontaminate: list[Annotated[str, FilePath()]] = []

    @property
    def artifact(self) -> str:
        return "prompts" if self.output == "prompts" else f"{self.output}_data"

    @model_validator(mode="after")
    def _one_source(self) -> "Synth":
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            shown = " and ".join(given) or "none"
            raise ValueError(f"give one of prompts, data and corpus, not {shown}")
        return self


class OnlineMerging(Strict):
    """The Online Merging Optimizer (arXiv 2405.17931); `base` is the pretrained model."""

    kind: Literal["online_merging"]
    base: ModelRef
    method: Literal["ondare", "onties"] = "ondare"
    alpha: Annotated[float, Field(ge=0, le=1)] = 1e-7
    reserve: Annotated[float, Field(gt=0, le=1)] = 0.5
    merge_every: Positive = 1
    variant: Literal["paper", "released"] = "paper"


class Sft(Training):
    ARTIFACT: ClassVar[str] = "model"
    CONFIG_CLASS: ClassVar[str | None] = "SFTConfig"
    kind: Literal["sft"]
    model: ModelRef
    data: Annotated[list[SftRef], Field(min_length=1)]


class Dpo(Training):
    ARTIFACT: ClassVar[str] = "model"
    CONFIG_CLASS: ClassVar[str | None] = "DPOConfig"
    kind: Literal["dpo"]
    model: ModelRef
    data: Annotated[list[PreferenceRef], Field(min_length=1)]
    optimizer: OnlineMerging | None = None


class Gate(Strict):
    """The run stops if the reward model's held-out accuracy is lower."""

    accuracy: Share


class Reward(Training):
    ARTIFACT: ClassVar[str] = "reward_model"
    CONFIG_CLASS: ClassVar[str | None] = "RewardConfig"
    kind: Literal["reward"]
    model: ModelRef
    data: Annotated[list[PreferenceRef], Field(min_length=1)]
    heldout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    gate: Gate | None = None


class RewardSource(Strict):
    """One reward: a reward-model stage, a verifier or a function. A bare string is its `kind`."""

    kind: Annotated[str, RewardRef.__metadata__[0], FunctionName()]
    weight: float = 1.0
    on_error: Literal["error", "skip", "zero"] = "error"
    timeout_s: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


class Grpo(Training):
    """`order: variance` scores `scoring_samples` answers a query by the reward model first."""

    VERSION: ClassVar[int] = 3
    ARTIFACT: ClassVar[str] = "model"
    CONFIG_CLASS: ClassVar[str | None] = "GRPOConfig"
    kind: Literal["grpo"]
    model: ModelRef
    prompts: Prompts
    rewards: Annotated[list[RewardSource], Field(min_length=1)]
    order: Literal["variance", "given"] = "variance"
    scoring_samples: Annotated[int, Field(ge=2)] = 8


class Evaluate(Stage):
    """Every model on held-out prompts (one sample each) and on held-out prose."""

    VERSION: ClassVar[int] = 2
    ARTIFACT: ClassVar[str] = "scores"
    kind: Literal["evaluate"]
    models: Annotated[list[ModelRef], Field(min_length=1)]
    prompts: Prompts
    verifier: Annotated[str, FunctionName()]
    sampling: Sampling = Sampling()
    perplexity: CorpusRef | None = None
    shown: Annotated[int, Field(ge=0)] = 3


KINDS: dict[str, type[Stage]] = {
    "corpus": Corpus,
    "tokenizer": Tokenizer,
    "pretrain": Pretrain,
    "model": Model,
    "upcycle": Upcycle,
    "server": Server,
    "replay": Replay,
    "prompts": PromptSet,
    "synth": Synth,
    "sft": Sft,
    "dpo": Dpo,
    "reward": Reward,
    "grpo": Grpo,
    "evaluate": Evaluate,
}


class Header(Strict):
    """The recipe's own keys beside `stages`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    launch: Launch = Launch()
    stages: dict[str, Any]

    @field_validator("stages")
    @classmethod
    def _some(cls, value: dict) -> dict:
        if not value:
            raise ValueError("a recipe needs at least one stage")
        return value
