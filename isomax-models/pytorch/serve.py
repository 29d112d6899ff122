"""The twin of isomax-serve: a bundle over HTTP with FastAPI and PyTorch, as one writes it in an afternoon.

    python isomax-models/pytorch/serve.py BUNDLE [--port 8081]

`POST /v1/predict` takes the bytes of an image. For comparisons of speed: see isomax-serve/load.sh. Needs PyTorch, NumPy,
safetensors, Pillow, FastAPI and uvicorn.
"""

import argparse
import io

import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from starlette.concurrency import run_in_threadpool

import predict
from bundle import Bundle


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("--port", type=int, default=8081)
    arguments = parser.parse_args()
    bundle = Bundle.load(arguments.bundle)
    network = predict.network_of(bundle).to(memory_format=torch.channels_last)
    app = FastAPI()

    def decide(image):
        [decision] = bundle.decide(predict.features_and_logits(network, bundle, io.BytesIO(image))[1])
        return decision

    @app.post("/v1/predict")
    async def answer(request: Request):
        image = await request.body()
        try:
            return {"results": [await run_in_threadpool(decide, image)]}
        except OSError as error:
            raise HTTPException(422, str(error)) from None

    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
