"""A Tinker server on the loopback interface: as much of the wire protocol of SDK 0.38 as is asked for.

    with serving_tinker() as server:
        server.environment()                                        what the SDK reads
        server.latency = 0.05                                       seconds of each piece of work, or sampled token
        server.script["optim_step"].append(Reply(500, "sorry"))     the next such request gets this answer
        server.always["healthz"] = Reply(503, "starting")           every one does
        server.script["save_weights"].append(CUT)                   done, and the connection is cut before the answer
        server.script["forward_backward"].append(Failure("no"))     taken, and fails while it is worked on
        server.spoil = lambda results: results[:-1]                 log probabilities, on their way out
        server.samplers.asked                                       what samples were asked for
        server.events                                               what arrived and was given out, in order

What it trains is real: each token predicts the next by factors of low rank, with gradients that add up until AdamW is
asked for, as with the real one. It does the requests of a model in their order, once each, and refuses what a real
server refuses; a name of a checkpoint that is taken gives 409 for ever, which the SDK never stops asking about.
"""

from __future__ import annotations

import json
import queue
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from tinker.proto import tinker_public_pb2 as proto
from tinker_factors import VOCABULARY, Floats, Model, Row, State
from tinker_sampling import Refused, Samplers

KEY = "tml-thisIsTheSecretOfTheTest"
MODEL = "test/tiny"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PROTO = "application/x-protobuf"
Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """`body` of JSON where it is no text."""

    status: int
    body: Any = "no"


@dataclass(frozen=True)
class Failure:
    message: str
    category: str = "server"


CUT = "cut"


@dataclass
class Work:
    """A request that was taken; `result` once it is done: JSON, bytes of a message, or a failure."""

    kind: str
    do: Callable[[], Json | bytes]
    failure: Failure | None = None
    result: Json | bytes | Failure | None = None
    done: threading.Event = field(default_factory=threading.Event)


class TinkerServer:
    def __init__(self, model: str, vocabulary: int) -> None:
        self.latency = 0.0
        self.vocabulary = vocabulary
        self.models = {model: 32768}  # names with their longest context
        self.config: Json = {}
        self.script: dict[str, deque[Any]] = defaultdict(deque)
        self.always: dict[str, Any] = {}
        self.events: list[tuple[str, str]] = []
        self.adams: list[Json] = []
        self.received: list[list[Row]] = []  # rows of each forward_backward
        self.headers: list[dict[str, str]] = []
        self.runs: dict[str, Model] = {}
        self.states: dict[str, State] = {}
        self.samplers = Samplers(self.models, self.states, vocabulary)
        self.finished: list[str] = []  # how sessions ended
        self.spoil: Callable[[list[Floats]], list[Floats]] = lambda results: results
        self.files: dict[str, bytes] | None = None  # in place of the adapter
        self.url = ""
        self._work: dict[str, Work] = {}
        self._taken: dict[tuple[str, int], str] = {}
        self._queue: queue.Queue[Work | None] = queue.Queue()
        self._lock = threading.RLock()
        self._stopping = threading.Event()

    def environment(self) -> dict[str, str]:
        return {"TINKER_BASE_URL": self.url, "TINKER_API_KEY": KEY}

    def count(self, kind: str) -> int:
        return self.events.count(("in", kind))

    def last_state(self) -> State:
        """Of the training run begun last."""
        return list(self.runs.values())[-1].state

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes] | None:
        """None cuts the connection."""
        kind = "delete" if method == "DELETE" else _kind(path)
        with self._lock:
            self.headers.append(headers)
            scripted = self.script[kind].popleft() if self.script[kind] else self.always.get(kind)
            if kind != "retrieve_future":
                self.events.append(("in", kind))
        if isinstance(scripted, Reply):
            text = scripted.body if isinstance(scripted.body, str) else json.dumps(scripted.body)
            form = "application/json" if not isinstance(scripted.body, str) else "text/plain"
            return scripted.status, form, text.encode()
        try:
            if kind == "retrieve_future":
                if scripted == CUT:
                    return None
                return self._retrieve(json.loads(body)["request_id"])
            if kind.startswith("file/"):
                _, owner, checkpoint, name = kind.split("/", 3)
                return 200, "application/octet-stream", self._files(owner, checkpoint)[name]
            if headers.get("x-api-key") != KEY:
                raise Refused(401, f"no such key: {headers.get('x-api-key')}")
            given = _parse(body, headers)
            with self._lock:
                told = self._do(kind, path, given, scripted if isinstance(scripted, Failure) else None)
        except Refused as exc:
            return exc.status, "application/json", json.dumps({"detail": str(exc)}).encode()
        return None if scripted == CUT else (200, "application/json", json.dumps(told).encode())

    def work(self) -> None:
        while (one := self._queue.get()) is not None:
            self._finish(one, self.latency)

    def _finish(self, one: Work, seconds: float) -> None:
        self._stopping.wait(seconds)
        try:
            one.result = one.failure or one.do()
        except Refused as exc:
            one.result = Failure(str(exc), "user")
        one.done.set()

    def stop(self) -> None:
        self._stopping.set()
        self._queue.put(None)

    def _retrieve(self, number: str) -> tuple[int, str, bytes]:
        work = self._work.get(number)
        if work is None:
            raise Refused(404, "no such request")
        if not work.done.wait(2):
            return 408, "application/json", b'{"type": "try_again", "queue_state": "active"}'
        with self._lock:
            self.events.append(("out", work.kind))
        if isinstance(work.result, bytes):
            return 200, _PROTO, work.result
        told = work.result
        if isinstance(told, Failure):
            told = {"error": told.message, "category": told.category}
        return 200, "application/json", json.dumps(told).encode()

    def _do(self, kind: str, path: str, given: Any, failure: Failure | None) -> Json:
        if kind in _TRAINING:
            return self._train(kind, given, failure)
        if kind == "create_sampling_session":
            return self.samplers.open(given)
        if kind == "get_sampler":
            return self.samplers.get(path.rsplit("/", 1)[-1])
        if kind == "asample":
            return self._sample(given, failure)
        if kind == "create_model":
            return self._begin(given, failure, given["base_model"])
        if kind == "load_weights":
            return self._begin(given, failure, given.get("base_model"))
        if kind == "delete":
            owner, _, name = path.removeprefix("/api/v1/training_runs/").partition("/checkpoints/")
            del self.states[f"tinker://{owner}/{name}"]
            return {}
        if kind == "finish":
            self.finished.append(given["reason"]["type"])
            return {}
        if kind == "get_info":
            run = self._run(given["model_id"])
            told = {"model_name": MODEL, "arch": "bigram", "tokenizer_id": MODEL}
            return {"model_id": given["model_id"], "model_data": told, "is_lora": True, "lora_rank": run.state.rank}
        if kind == "external_weights_urls":
            *_, owner, _, _, checkpoint, _ = path.split("/")
            urls = {name: f"{self.url}/file/{owner}/{checkpoint}/{name}" for name in self._files(owner, checkpoint)}
            return {"urls": urls, "expires": "2100-01-01T00:00:00Z"}
        answers: dict[str, Json] = {
            "healthz": {"status": "ok"},
            "get_server_capabilities": {
                "supported_models": [
                    {"model_name": name, "max_context_length": longest} for name, longest in self.models.items()
                ]
            },
            "config": self.config,
            "dynamic_config": {},
            "create_session": {"session_id": f"session-{self.count('create_session')}"},
            "session_heartbeat": {"type": "session_heartbeat"},
        }
        if kind not in answers:
            raise Refused(404, f"no {path}")
        return answers[kind]

    def _files(self, owner: str, checkpoint: str) -> dict[str, bytes]:
        if self.files is not None:
            return self.files
        state = self.states[f"tinker://{owner}/external_weights/{checkpoint}"]
        config = {"peft_type": "LORA", "r": state.rank}
        return {"adapter_model.safetensors": state.tensors(), "adapter_config.json": json.dumps(config).encode()}

    def _begin(self, given: Json, failure: Failure | None, base: str | None) -> Json:
        if base is not None and base not in self.models:
            raise Refused(404, f"no model {base}")
        name = f"{given['session_id']}:train:{given['model_seq_id']}"

        def do() -> Json:
            if "path" in given:
                if given["path"] not in self.states:
                    raise Refused(404, f"no checkpoint {given['path']}")
                state = self.states[given["path"]].copy(optimizer=given["optimizer"])
            else:
                state = State.new(given["lora_config"]["rank"], given["lora_config"]["seed"] or 0, self.vocabulary)
            self.runs[name] = Model(state)
            return {"type": "create_model", "model_id": name} if "path" not in given else {"type": "load_weights"}

        return self._take(Work("begin", do, failure))

    def _train(self, kind: str, given: Any, failure: Failure | None) -> Json:
        run = self._run(given["model_id"])
        place = (given["model_id"], given["seq_id"])
        if place in self._taken:  # sent again, since the answer was lost
            return {"request_id": self._taken[place]}
        if given["seq_id"] != run.next_request:
            raise Refused(400, f"request {given['seq_id']}, where {run.next_request} comes next")
        told = self._take(self._make(kind, run, given, failure))
        run.next_request += 1
        self._taken[place] = told["request_id"]
        return told

    def _sample(self, given: Json, failure: Failure | None) -> Json:
        """Samples are worked on beside each other, as long as they have tokens."""
        place = (given["sampling_session_id"], given["seq_id"])
        if place not in self._taken:
            do, tokens = self.samplers.sample(given)
            work = Work("asample", do, failure)
            self._taken[place] = number = str(len(self._work))
            self._work[number] = work
            threading.Thread(target=self._finish, args=(work, self.latency * tokens), daemon=True).start()
        return {"request_id": self._taken[place], "sample_sequence_ids": [":".join(map(str, place))]}

    def _make(self, kind: str, run: Model, given: Any, failure: Failure | None) -> Work:
        if kind == "forward_backward":
            rows, backward = given["rows"], not given["forward_only"]
            if any(max(row.tokens.max(), row.targets.max()) >= self.vocabulary for row in rows):
                raise Refused(422, "a token that the model does not have")
            if backward:
                self.received.append(rows)
            return Work(
                "forward_backward" if backward else "forward", lambda: self._output(run, rows, backward), failure
            )
        if kind == "optim_step":
            self.adams.append(given["adam_params"])

            def step() -> Json:
                run.step(given["adam_params"])
                return {"type": "optim_step"}

            return Work(kind, step, failure)
        folder = {"save_weights": "weights", "save_weights_for_sampler": "sampler_weights"}.get(
            kind, "external_weights"
        )
        path = f"tinker://{given['model_id']}/{folder}/{given['path']}"
        if not _NAME.fullmatch(given["path"]):
            raise Refused(422, f"{given['path']!r} is no name")
        if path in self.states:
            raise Refused(409, f"{path} exists")

        def save() -> Json:
            self.states[path] = run.state.copy(optimizer=kind == "save_weights")
            return {"type": kind, "path": path}

        return Work(kind, save, failure)

    def _output(self, run: Model, rows: list[Row], backward: bool) -> bytes:
        found = [run.forward(row, backward=backward) for row in rows]
        total = -sum(float((one * row.weights).sum()) for one, row in zip(found, rows, strict=True))
        arrays = [one.astype(np.float32) for one in self.spoil(found)]
        output = proto.ForwardBackwardOutput(loss_fn_output_type="CrossEntropyLoss", metrics={"loss:sum": total})
        batched = output.loss_fn_outputs.add(num_datums=len(arrays)).fields["logprobs"]
        batched.dtype = proto.DTYPE_FLOAT32
        batched.data = b"".join(one.tobytes() for one in arrays)
        batched.offsets = np.cumsum([0, *(one.nbytes for one in arrays)]).astype(np.int64).tobytes()
        return bytes(output.SerializeToString())

    def _take(self, work: Work) -> Json:
        number = str(len(self._work))
        self._work[number] = work
        self._queue.put(work)
        return {"request_id": number}

    def _run(self, name: str) -> Model:
        if name not in self.runs:
            raise Refused(404, f"no training run {name}")
        return self.runs[name]


_TRAINING = ("forward_backward", "optim_step", "save_weights", "save_weights_for_sampler", "save_weights_external")


def _kind(path: str) -> str:
    if path.startswith("/api/v1/samplers/"):
        return "get_sampler"
    return path.removeprefix("/") if path.startswith("/file/") else path.rsplit("/", 1)[-1]


def _parse(body: bytes, headers: dict[str, str]) -> Any:
    if headers.get("content-type") != _PROTO:
        return json.loads(body or b"{}")
    message = proto.ForwardBackwardRequest.FromString(body)
    if message.loss_fn != "cross_entropy" or not message.data:
        raise Refused(422, f"no data, or no loss {message.loss_fn}")
    return {
        "model_id": message.model_id,
        "seq_id": message.seq_id,
        "forward_only": message.forward_only,
        "rows": [_row(datum) for datum in message.data],
    }


def _row(datum: Any) -> Row:
    tokens = np.concatenate([np.frombuffer(chunk.encoded_text.tokens, np.int32) for chunk in datum.model_input])
    targets, weights = datum.loss_fn_inputs["target_tokens"], datum.loss_fn_inputs["weights"]
    if (targets.dtype, weights.dtype) != (proto.DTYPE_INT64, proto.DTYPE_FLOAT32):
        raise Refused(422, "target_tokens are integers, and weights are not")
    row = Row(tokens, np.frombuffer(targets.dense, np.int64), np.frombuffer(weights.dense, np.float32))
    if not len(row.tokens) == len(row.targets) == len(row.weights) > 0:
        raise Refused(422, f"{len(row.tokens)} tokens, {len(row.targets)} targets, {len(row.weights)} weights")
    return row


@contextmanager
def serving_tinker(model: str = MODEL, vocabulary: int = VOCABULARY) -> Iterator[TinkerServer]:
    server = TinkerServer(model, vocabulary)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = server.answer(self.command, self.path, headers, body)
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            status, form, content = answer
            self.send_response(status)
            self.send_header("content-type", form)
            self.send_header("content-length", str(len(content)))
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = handle_one

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Http(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that was killed

    http = Http(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    threads = [threading.Thread(target=run, daemon=True) for run in (lambda: http.serve_forever(0.02), server.work)]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        server.stop()
        for thread in threads:
            thread.join()
