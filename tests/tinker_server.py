"""A real Tinker server on the loopback interface: SkyRL's, which trains with JAX on a CPU.

    with real_server(python, folder, model) as url: ...

`python` is an interpreter with `skyrl[tinker,jax]==0.3.0` and `tinker==0.38.0`; `model` a folder of weights. That
interpreter runs this file: SkyRL's own application, with routes of its own for what SDK 0.38 says in another way:
messages of protocol buffers in place of JSON, models that are made from a checkpoint, and adapters by file.
"""

from __future__ import annotations

import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_CACHE = Path(__file__).parents[1] / "build" / "jax"  # compiling takes most of the time
_PROTO = "application/x-protobuf"


@contextmanager
def real_server(python: str, folder: Path, model: Path, *, patience: float = 120) -> Iterator[str]:
    """Its address, once it answers. What it prints goes to `folder/server.log`."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HOME")}
    environment |= {
        "HOME": str(folder), "JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1", "JAX_COMPILATION_CACHE_DIR": str(_CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [python, __file__, "--serve", str(model), str(folder), str(port)],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + patience
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {(folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with the process that trains
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


# From here on what runs in the server's interpreter.


class Translation:
    """Handlers that take the place of SkyRL's. `real` has its name of each model that was made from a checkpoint."""

    def __init__(self, api: Any, checkpoints: Path) -> None:
        self.api, self.checkpoints = api, checkpoints
        self.real: dict[str, str] = {}
        self.exports: dict[str, str] = {}  # path of an export by the request that makes it

    async def load_weights(self, request: Any) -> Any:
        """A new model first, of the base and the rank that the checkpoint has; then its weights and optimizer."""
        api, given = self.api, await request.json()
        async with self._session(request) as session:
            about = await api.get_weights_info(api.WeightsInfoRequest(tinker_path=given["path"]), request, session)
        async with self._session(request) as session:
            lora = api.LoRAConfig(rank=about.lora_rank)
            wanted = api.CreateModelRequest(
                session_id=given["session_id"], base_model=about.base_model, lora_config=lora
            )
            made = await api.create_model(wanted, session)
        self.real[f"{given['session_id']}:train:{given['model_seq_id']}"] = made.model_id
        async with self._session(request) as session:
            return await api.load_weights(
                api.LoadWeightsRequest(model_id=made.model_id, path=given["path"]), request, session
            )

    async def forward_backward(self, request: Any) -> Any:
        from tinker.proto import tinker_public_pb2 as proto

        message = proto.ForwardBackwardRequest.FromString(await request.body())
        rows = [_datum(datum) for datum in message.data]
        work = {"data": rows, "loss_fn": message.loss_fn}
        model = self.real.get(message.model_id, message.model_id)
        api = self.api
        async with self._session(request) as session:
            if message.forward_only:
                return await api.forward(api.ForwardRequest(model_id=model, forward_input=work), session)
            return await api.forward_backward(
                api.ForwardBackwardRequest(model_id=model, forward_backward_input=work), session
            )

    async def asample(self, request: Any) -> Any:
        """With a name of the one sequence, which the SDK asks for."""
        api = self.api
        async with self._session(request) as session:
            taken = await api.asample(api.SampleRequest.model_validate(await request.json()), request, session)
        return {"request_id": taken.request_id, "sample_sequence_ids": [taken.request_id]}

    async def save_weights_external(self, request: Any) -> Any:
        """SkyRL's weights for sampling are an adapter as PEFT has it."""
        api, given = self.api, await request.json()
        wanted = api.SaveWeightsForSamplerRequest(model_id=given["model_id"], path=f"external-{given['path']}")
        async with self._session(request) as session:
            taken = await api.save_weights_for_sampler(wanted, session)
        self.exports[taken.request_id] = f"tinker://{given['model_id']}/external_weights/{given['path']}"
        return taken

    async def retrieve_future(self, request: Any) -> Any:
        """What failed comes as a result that says so: SkyRL answers with a status that the SDK tries again."""
        from fastapi import HTTPException, Response

        given = await request.json()
        try:
            found = await self.api.retrieve_future(
                self.api.RetrieveFutureRequest(request_id=given["request_id"]), request
            )
        except HTTPException as exc:
            if exc.status_code not in (400, 500):
                raise
            return {"error": str(exc.detail), "category": "user" if exc.status_code == 400 else "server"}
        if given["request_id"] in self.exports:
            return {"type": "save_weights_external", "path": self.exports[given["request_id"]]}
        if _PROTO in request.headers.get("accept", ""):
            return Response(_samples(found) if "sequences" in found else _output(found), media_type=_PROTO)
        if found.get("type") == "save_weights_for_sampler":
            found = found | {"path": re.sub(r"(tinker://[^/]+)/([^/]+)$", r"\1/sampler_weights/\2", found["path"])}
        return found

    async def get_info(self, request: Any) -> Any:
        given = await request.json()
        async with self._session(request) as session:
            found = await self.api.get_model_info(self.api.GetInfoRequest(model_id=given["model_id"]), session)
        return found.model_dump() | {"is_lora": True, "lora_rank": found.model_data.lora_config.rank}

    async def urls(self, request: Any) -> Any:
        model, name = request.path_params["model"], request.path_params["name"]
        files = {file: f"{request.base_url}files/{model}/{name}/{file}" for file in self._export(model, name)}
        return {"urls": files, "expires": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}

    async def file(self, request: Any) -> Any:
        from fastapi import Response

        model, name, file = (request.path_params[part] for part in ("model", "name", "file"))
        return Response(self._export(model, name)[file], media_type="application/octet-stream")

    async def finish(self, request: Any) -> Any:
        return {}

    def _export(self, model: str, name: str) -> dict[str, bytes]:
        import tarfile

        with tarfile.open(self.checkpoints / model / "sampler_weights" / f"external-{name}.tar.gz") as archive:
            return {
                member.name.removeprefix("./"): handle.read()
                for member in archive.getmembers()
                if (handle := archive.extractfile(member)) is not None
            }

    def _session(self, request: Any) -> Any:
        return self.api.AsyncSession(request.app.state.db_engine)


def _datum(datum: Any) -> dict[str, Any]:
    import numpy as np
    from tinker.proto import tinker_public_pb2 as proto

    kinds = {proto.DTYPE_FLOAT32: np.float32, proto.DTYPE_INT64: np.int64}
    chunks = [
        {"type": "encoded_text", "tokens": np.frombuffer(chunk.encoded_text.tokens, np.int32).tolist()}
        for chunk in datum.model_input
    ]
    inputs = {
        name: {"data": np.frombuffer(tensor.dense, kinds[tensor.dtype]).tolist()}
        for name, tensor in datum.loss_fn_inputs.items()
    }
    return {"model_input": {"chunks": chunks}, "loss_fn_inputs": inputs}


def _output(found: dict[str, Any]) -> bytes:
    import numpy as np
    from tinker.proto import tinker_public_pb2 as proto

    output = proto.ForwardBackwardOutput(loss_fn_output_type=found["loss_fn_output_type"])
    results = found["loss_fn_outputs"]
    record = output.loss_fn_outputs.add(num_datums=len(results))
    for name in results[0] if results else ():
        arrays = [np.asarray(result[name]["data"], np.float32) for result in results]
        field = record.fields[name]
        field.dtype = proto.DTYPE_FLOAT32
        field.data = b"".join(array.tobytes() for array in arrays)
        field.offsets = np.cumsum([0, *(array.nbytes for array in arrays)]).astype(np.int64).tobytes()
    return bytes(output.SerializeToString())


def _samples(found: dict[str, Any]) -> bytes:
    import numpy as np
    from tinker.proto import tinker_public_pb2 as proto

    reasons = {"stop": proto.STOP_REASON_STOP, "length": proto.STOP_REASON_LENGTH}
    sequences = [
        proto.SampledSequence(
            stop_reason=reasons[one["stop_reason"]], tokens=np.array(one["tokens"], np.int32).tobytes()
        )
        for one in found["sequences"]
    ]
    return bytes(proto.SampleResponse(sequences=sequences).SerializeToString())


class Renamed:
    """Around the application: JSON that names a model as the SDK does, with SkyRL's name of it."""

    def __init__(self, app: Any, real: dict[str, str]) -> None:
        self.app, self.real = app, real

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def renamed() -> Any:
            message = await receive()
            for name, real in self.real.items():
                if name.encode() in message.get("body", b""):
                    message["body"] = message["body"].replace(f'"{name}"'.encode(), f'"{real}"'.encode())
            return message

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start" and scope["path"] == "/api/v1/client/config":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]  # the SDK never does
            await send(message)

        json_with_length = (b"content-type", b"application/json") in scope.get("headers", ())
        if json_with_length:  # which is another one afterwards
            scope = scope | {"headers": [(k, v) for k, v in scope["headers"] if k != b"content-length"]}
        await self.app(scope, renamed if json_with_length else receive, sent)


def application(model: str, folder: Path) -> Any:
    from skyrl.tinker import api
    from skyrl.tinker.config import EngineConfig, config_to_argv

    checkpoints = folder / "checkpoints"
    translation, app = Translation(api, checkpoints), api.app
    api._build_uv_run_cmd_engine = lambda _, config: [sys.executable, __file__, "--engine", *config_to_argv(config)]
    app.state.engine_config = EngineConfig(
        base_model=model,
        backend="jax",
        backend_config={"max_lora_adapters": 32, "max_lora_rank": 8},
        checkpoints_base=str(checkpoints),
        database_url=f"sqlite:///{folder}/tinker.db",
    )
    posted = ("load_weights", "forward_backward", "save_weights_external", "retrieve_future", "get_info", "asample")
    replaced = {f"/api/v1/{name}" for name in posted}
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") not in replaced]
    for name in posted:
        app.add_route(f"/api/v1/{name}", _endpoint(getattr(translation, name)), methods=["POST"])
    app.add_route("/api/v1/sessions/{name}/finish", _endpoint(translation.finish), methods=["POST"])
    exported = "/api/v1/training_runs/{model}/checkpoints/external_weights/{name}/external_weights_urls"
    app.add_route(exported, _endpoint(translation.urls), methods=["GET"])
    app.add_route("/files/{model}/{name}/{file:path}", _endpoint(translation.file), methods=["GET"])
    return Renamed(app, translation.real)


def _endpoint(handler: Any) -> Any:
    from fastapi import Response
    from fastapi.encoders import jsonable_encoder
    from fastapi.responses import JSONResponse

    async def endpoint(request: Any) -> Any:
        answer = await handler(request)
        return answer if isinstance(answer, Response) else JSONResponse(jsonable_encoder(answer))

    return endpoint


def main(task: str, *rest: str) -> None:
    import typing

    import typing_extensions

    typing.TypedDict = typing_extensions.TypedDict  # pydantic needs that before Python 3.12
    if task == "--engine":  # the process that trains
        sys.argv = ["skyrl.tinker.engine", *rest]
        runpy.run_module("skyrl.tinker.engine", run_name="__main__")
        return
    import uvicorn

    model, folder, port = rest
    uvicorn.run(application(model, Path(folder)), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
