#!/usr/bin/env python3
"""Times the network beside other engines: the same weights, the same windows, one run.

    tests/benchmarks/peers.py [--runner build/release/tests/benchmarks/network_runner] [--bundle FILE] [--rounds 20]

Makes a virtual environment (Debian: python3-venv) in build/peers on its first run (onnxruntime, openvino, onnx,
numpy, safetensors from PyPI, 0.4 GB) and goes on inside it. With --torch it has torch, torchvision and litert-torch from
PyPI, too (several GB): then torchvision's own MobileNetV3 runs with the bundle's weights, eager, compiled, and in LiteRT,
which was TensorFlow Lite.

The ONNX graph is torchvision's MobileNetV3 with the pooling and head of model/mobilenet_v3.h, made from the bundle's
tensors; batch normalisation is left to each engine to fold. Without --bundle: Large with 42 classes on 128 x 376, and
Small with 10 on 128 x 188, of weights known by formula. Rounds take every engine in turn, so that all of them see the
same noise of the machine; a turn is the median of five batches after one that warms the caches up. The table gives the
median milliseconds a window and the median over the rounds of own time / engine's time. All scores must agree to 1e-3,
but those of chorus in bfloat16, whose largest difference is printed. Engines that can't be had are named with the reason.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / "build" / "peers"
PACKAGES = ["numpy", "onnx", "onnxruntime", "openvino", "safetensors"]
TORCH_PACKAGES = ["torch", "torchvision", "litert-torch"]
COMPARED = [(1, 1), (8, 2)]  # batch, threads
ROUNDED = "chorus, bfloat16"

# in, kernel, expanded, out, squeeze, activation, stride: as model/mobilenet_v3_layers.h
LARGE = [(16, 3, 16, 16, 0, "Relu", 1), (16, 3, 64, 24, 0, "Relu", 2), (24, 3, 72, 24, 0, "Relu", 1),
         (24, 5, 72, 40, 1, "Relu", 2), (40, 5, 120, 40, 1, "Relu", 1), (40, 5, 120, 40, 1, "Relu", 1),
         (40, 3, 240, 80, 0, "HardSwish", 2), (80, 3, 200, 80, 0, "HardSwish", 1),
         (80, 3, 184, 80, 0, "HardSwish", 1), (80, 3, 184, 80, 0, "HardSwish", 1),
         (80, 3, 480, 112, 1, "HardSwish", 1), (112, 3, 672, 112, 1, "HardSwish", 1),
         (112, 5, 672, 160, 1, "HardSwish", 2), (160, 5, 960, 160, 1, "HardSwish", 1),
         (160, 5, 960, 160, 1, "HardSwish", 1)]
SMALL = [(16, 3, 16, 16, 1, "Relu", 2), (16, 3, 72, 24, 0, "Relu", 2), (24, 3, 88, 24, 0, "Relu", 1),
         (24, 5, 96, 40, 1, "HardSwish", 2), (40, 5, 240, 40, 1, "HardSwish", 1), (40, 5, 240, 40, 1, "HardSwish", 1),
         (40, 5, 120, 48, 1, "HardSwish", 1), (48, 5, 144, 48, 1, "HardSwish", 1), (48, 5, 288, 96, 1, "HardSwish", 2),
         (96, 5, 576, 96, 1, "HardSwish", 1), (96, 5, 576, 96, 1, "HardSwish", 1)]


def enter_environment(packages):
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    installed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True).stdout
    names = {package["name"].lower() for package in json.loads(installed)}
    for package in packages:  # one by one: those that can't be had are said later
        if package not in names:
            subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=False)
    if pathlib.Path(sys.prefix) != ENVIRONMENT:
        os.execv(python, [str(python), *sys.argv])


class Graph:
    """ONNX nodes, one after the other."""

    def __init__(self):
        self.nodes = []

    def add(self, operation, *inputs, **attributes):
        from onnx import helper
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def convolution(self, x, name, kernel, stride=1, groups=1, activation=None):
        x = self.add("Conv", x, name + ".0.weight", kernel_shape=[kernel] * 2, strides=[stride] * 2,
                     pads=[(kernel - 1) // 2] * 4, group=groups)
        x = self.add("BatchNormalization", x, *(f"{name}.1.{part}" for part in
                                                ("weight", "bias", "running_mean", "running_var")), epsilon=1e-3)
        return self.add(activation, x) if activation else x

    def squeeze(self, x, name):
        gate = self.add("GlobalAveragePool", x)
        gate = self.add("Relu", self.add("Conv", gate, name + ".fc1.weight", name + ".fc1.bias"))
        gate = self.add("Conv", gate, name + ".fc2.weight", name + ".fc2.bias")
        return self.add("Mul", x, self.add("HardSigmoid", gate, alpha=1 / 6, beta=0.5))

    def block(self, x, name, block):
        inside, kernel, expanded, out, squeezed, activation, stride = block
        layers = (f"{name}.block.{i}" for i in range(4))
        y = x
        if expanded != inside:
            y = self.convolution(y, next(layers), 1, activation=activation)
        y = self.convolution(y, next(layers), kernel, stride, expanded, activation)
        if squeezed:
            y = self.squeeze(y, next(layers))
        y = self.convolution(y, next(layers), 1)
        return self.add("Add", y, x) if stride == 1 and inside == out else y


def write_onnx(path, tensors, blocks, mels, frames):
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    graph = Graph()
    x = graph.convolution("windows", "features.0", 3, 2, activation="HardSwish")
    for number, block in enumerate(blocks, 1):
        x = graph.block(x, f"features.{number}", block)
    x = graph.convolution(x, f"features.{len(blocks) + 1}", 1, activation="HardSwish")
    x = graph.add("ReduceMean", x, axes=[2], keepdims=0)
    x = graph.add("Add", graph.add("ReduceMax", x, axes=[2], keepdims=0), graph.add("ReduceMean", x, axes=[2], keepdims=0))
    x = graph.add("Sigmoid", graph.add("Gemm", x, "head.weight", "head.bias", transB=1))
    weights = [numpy_helper.from_array(numpy.asarray(value, dtype=numpy.float32), name)
               for name, value in tensors.items() if not name.endswith("num_batches_tracked")]
    classes = len(tensors["head.bias"])
    made = helper.make_model(
        helper.make_graph(graph.nodes, "chorus",
                          [helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["batch", 1, mels, frames])],
                          [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", classes])], weights),
        opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    onnx.checker.check_model(made)
    onnx.save(made, path)


class Runner:
    """The project's own engine, and LibTorch's eager one, in one child process."""

    def __init__(self, runner, bundle, windows):
        self.process = subprocess.Popen([runner, "run", bundle, windows], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit("network_runner ended")
        return [float(word) for word in answer.split()]

    def engine(self, name, batch, threads):
        def score():
            self.ask(f"{name} {batch} {threads}")
            return self.ask("scores")
        return lambda: self.ask(f"{name} {batch} {threads}")[0], score


def timed(work):
    def milliseconds():
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1e3
    return milliseconds


def onnx_runtime(path, windows, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads == 1 else "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    work = lambda: session.run(None, {"windows": windows})[0]
    return timed(work), work, onnxruntime.__version__


def open_vino(path, windows, threads):
    import openvino
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape(list(windows.shape))
    request = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
                                                "INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    work = lambda: next(iter(request.infer({0: windows}, share_inputs=True).values()))
    return timed(work), work, openvino.__version__.split("-")[0]


def torchvision_network(tensors, large):
    import torch
    import torchvision
    make = torchvision.models.mobilenet_v3_large if large else torchvision.models.mobilenet_v3_small
    features = make(weights=None).features
    features[0][0] = torch.nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.features = features
            self.head = torch.nn.Linear(tensors["head.weight"].shape[1], tensors["head.weight"].shape[0])

        def forward(self, x):
            x = self.features(x).mean(2)
            return torch.sigmoid(self.head(x.amax(2) + x.mean(2)))

    network = Network().eval()
    network.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    return network


def torch_engine(tensors, large, windows, threads, compiled):
    import torch
    network = torchvision_network(tensors, large)
    if compiled:
        network = torch.compile(network)
    batch = torch.tensor(windows)

    def work():
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return network(batch).numpy()
    return timed(work), work, torch.__version__


def lite_rt(tensors, large, windows, threads, folder):
    import ai_edge_litert
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter
    path = os.path.join(folder, f"network-{len(windows)}.tflite")
    litert_torch.convert(torchvision_network(tensors, large), (torch.tensor(windows),)).export(path)
    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]
    out = interpreter.get_output_details()[0]["index"]

    def work():
        interpreter.set_tensor(place, windows)
        interpreter.invoke()
        return interpreter.get_tensor(out)
    return timed(work), work, ai_edge_litert.__version__


def read_network(bundle):
    """Tensors, mels, frames, and whether it is Large."""
    from safetensors import safe_open
    with safe_open(bundle, "numpy") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    front_end = json.loads(metadata["front_end"])
    mels = front_end["mels"]
    frames = int(front_end["window_seconds"] * front_end["sample_rate_hz"] + 0.5) // front_end["hop"] + 1
    large = metadata["architecture"] == "mobilenet_v3_large"
    return tensors, mels, frames, large


def compare(arguments, bundle, name):
    import numpy
    tensors, mels, frames, large = read_network(bundle)
    windows = numpy.random.default_rng(1).random((8, 1, mels, frames), dtype=numpy.float32)
    with tempfile.TemporaryDirectory() as folder:
        onnx_path = os.path.join(folder, "network.onnx")
        windows_path = os.path.join(folder, "windows")
        write_onnx(onnx_path, tensors, LARGE if large else SMALL, mels, frames)
        windows.tofile(windows_path)
        runner = Runner(arguments.runner, bundle, windows_path)
        for batch, threads in COMPARED:
            part = windows[:batch]
            engines = {"chorus": (*runner.engine("own", batch, threads), ""),
                       "LibTorch, eager": (*runner.engine("libtorch", batch, threads), "")}
            if "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text():
                engines[ROUNDED] = (*runner.engine("bfloat16", batch, threads), "")
            makers = {"ONNX Runtime": lambda: onnx_runtime(onnx_path, part, threads),
                      "OpenVINO": lambda: open_vino(onnx_path, part, threads)}
            if arguments.torch:
                makers["torch"] = lambda: torch_engine(tensors, large, part, threads, False)
                makers["torch.compile"] = lambda: torch_engine(tensors, large, part, threads, True)
                makers["LiteRT"] = lambda: lite_rt(tensors, large, part, threads, folder)
            left_out = []
            for engine, make in makers.items():
                try:
                    engines[engine] = make()
                    engines[engine][1]()
                except Exception as error:  # an engine that isn't there is no fault of the others
                    engines.pop(engine, None)
                    left_out.append(f"{engine}: {str(error).splitlines()[0]}")
            wanted = numpy.array(engines["chorus"][1]()).reshape(batch, -1)
            for engine, (_, score, _) in engines.items():
                apart = float(abs(numpy.array(score()).reshape(batch, -1) - wanted).max())
                if engine == ROUNDED:
                    print(f"\n{engine}: scores at most {apart:.4f} apart")
                elif apart > 1e-3:
                    sys.exit(f"{engine}'s scores are {apart} from chorus's")
            print_table(name, f"{batch} on {threads}", batch, engines, arguments.rounds, left_out)
        runner.process.stdin.close()
        runner.process.wait()


def print_table(name, title, batch, engines, rounds, left_out):
    times = {engine: [] for engine in engines}
    for _ in range(rounds):
        for engine, (measure, _, _) in engines.items():
            measure()
            times[engine].append(statistics.median(measure() for _ in range(5)) / batch)
    print(f"\n{name}, batch {title} thread{'s' if title[-1] != '1' else ''}: ms a window, chorus's time / engine's")
    for engine, (_, _, version) in engines.items():
        ratio = statistics.median(own / other for own, other in zip(times["chorus"], times[engine]))
        print(f"  {engine + ' ' + version:28} {statistics.median(times[engine]):8.2f} {ratio:8.2f}")
    for line in left_out:
        print("  without", line)
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runner", default=ROOT / "build/release/tests/benchmarks/network_runner")
    parser.add_argument("--bundle", help="a model bundle, instead of the two of known weights")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--torch", action="store_true", help="torch and torchvision from PyPI, too")
    arguments = parser.parse_args()
    enter_environment(PACKAGES + (TORCH_PACKAGES if arguments.torch else []))
    if arguments.bundle:
        compare(arguments, arguments.bundle, pathlib.Path(arguments.bundle).stem)
        return
    with tempfile.TemporaryDirectory() as folder:
        for size, classes, hop in (("large", 42, 128), ("small", 10, 256)):
            bundle = os.path.join(folder, size)
            subprocess.run([arguments.runner, "make", size, str(classes), str(hop), bundle], check=True)
            compare(arguments, bundle, f"MobileNetV3 {size}, {classes} classes")


if __name__ == "__main__":
    main()
