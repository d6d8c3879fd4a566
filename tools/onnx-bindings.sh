#!/usr/bin/env bash
# Generates the bindings for ONNX's files from its own schema, the one in Python's onnx package, without its comments.
# Needs: pip install onnx grpcio-tools
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
schema=$(python3 -c 'import onnx, pathlib; print(pathlib.Path(onnx.__file__).parent)')
python3 -m grpc_tools.protoc -I"$schema" --descriptor_set_out="$folder/onnx.ds" onnx.proto
npm install --silent --no-save --prefix "$folder" @bufbuild/protoc-gen-es@2.17.0
python3 -m grpc_tools.protoc --descriptor_set_in="$folder/onnx.ds" onnx.proto \
  --plugin=protoc-gen-es="$folder/node_modules/.bin/protoc-gen-es" \
  --es_out=packages/core/src/backends/onnx --es_opt=target=js+dts
