"""What engines/trt takes from TensorRT: a table, and a reader of our source that checks it.

Objects of the library are typed Any in our code. The reader follows them from where they come in
(a parameter, a field, the module itself) through the calls that the table describes, and gives
every attribute that is taken from one.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

CALLS = {
    "Builder.__init__": "(ILogger) -> None",
    "Builder.create_network": "(int) -> INetworkDefinition",
    "Builder.create_builder_config": "() -> IBuilderConfig",
    "Builder.create_optimization_profile": "() -> IOptimizationProfile",
    "Builder.build_serialized_network": "(INetworkDefinition, IBuilderConfig) -> IHostMemory",
    "OnnxParser.__init__": "(INetworkDefinition, ILogger) -> None",
    "OnnxParser.parse": "(buffer) -> bool",
    "OnnxParser.get_error": "(int) -> nvonnxparser::IParserError",
    "ParserError.desc": "() -> str",
    "ParserError.node": "() -> int",
    "ParserError.node_name": "() -> str",
    "ParserError.node_operator": "() -> str",
    "INetworkDefinition.get_input": "(int) -> ITensor",
    # A tuple is taken as Dims.
    "IOptimizationProfile.set_shape": "(str, Dims, Dims, Dims) -> None",
    "IBuilderConfig.set_memory_pool_limit": "(MemoryPoolType, int) -> None",
    "IBuilderConfig.add_optimization_profile": "(IOptimizationProfile) -> int",
    "IBuilderConfig.set_compute_capability": "(ComputeCapability, int) -> bool",
    "IBuilderConfig.set_flag": "(BuilderFlag) -> None",
    "IBuilderConfig.clear_flag": "(BuilderFlag) -> None",
    "IBuilderConfig.create_timing_cache": "(buffer) -> ITimingCache",
    "IBuilderConfig.set_timing_cache": "(ITimingCache, bool) -> bool",
    "ITimingCache.serialize": "() -> IHostMemory",
    "Runtime.__init__": "(ILogger) -> None",
    "Runtime.deserialize_cuda_engine": "(buffer) -> ICudaEngine",
    "Runtime.get_engine_validity": "(buffer) -> tuple",
    "ICudaEngine.create_execution_context": "() -> IExecutionContext",
    "ICudaEngine.create_runtime_config": "() -> IRuntimeConfig",
    "IRuntimeConfig.set_execution_context_allocation_strategy": (
        "(ExecutionContextAllocationStrategy) -> None"
    ),
    "IRuntimeConfig.create_runtime_cache": "() -> IRuntimeCache",
    "IRuntimeConfig.set_runtime_cache": "(IRuntimeCache) -> bool",
    "IRuntimeCache.deserialize": "(buffer) -> bool",
    "IRuntimeCache.serialize": "() -> IHostMemory",
    "ICudaEngine.get_tensor_name": "(int) -> str",
    "ICudaEngine.get_tensor_mode": "(str) -> TensorIOMode",
    "ICudaEngine.get_tensor_dtype": "(str) -> DataType",
    "ICudaEngine.get_tensor_shape": "(str) -> Dims",
    "ICudaEngine.get_tensor_profile_shape": "(str, int) -> list[Dims]",
    "IExecutionContext.set_input_shape": "(str, tuple) -> bool",
    "IExecutionContext.set_tensor_address": "(str, int) -> bool",
    "IExecutionContext.set_device_memory": "(int, int) -> None",
    "IExecutionContext.update_device_memory_size_for_shapes": "() -> int",
    "IExecutionContext.is_stream_capturable": "(int) -> bool",
    "IExecutionContext.get_tensor_shape": "(str) -> Dims",
    "IExecutionContext.execute_async_v3": "(int) -> bool",
    # Called by the library: a class of ours overrides them.
    "ILogger.__init__": "() -> None",
    "ILogger.log": "(ILogger.Severity, str) -> None",
    "IProfiler.__init__": "() -> None",
    "IProfiler.report_layer_time": "(str, float) -> None",
    "IProgressMonitor.__init__": "() -> None",
    "IProgressMonitor.phase_start": "(str, str, int) -> None",
    "IProgressMonitor.step_complete": "(str, int) -> bool",
    "IProgressMonitor.phase_finish": "(str) -> None",
}
"""Method to the types that we call it with, and that it answers with."""

PROPERTIES = {
    "OnnxParser.num_errors": "property",
    "INetworkDefinition.num_inputs": "property",
    "ITensor.name": "property",
    "ITensor.shape": "property",
    "IBuilderConfig.progress_monitor": "settable",
    "IBuilderConfig.num_compute_capabilities": "settable",
    "IBuilderConfig.profiling_verbosity": "settable",
    "IBuilderConfig.builder_optimization_level": "settable",
    "ICudaEngine.num_io_tensors": "property",
    "ICudaEngine.device_memory_size_v2": "property",
    "IRuntimeConfig.cuda_graph_strategy": "settable",
    "IExecutionContext.profiler": "settable",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy": "settable",
}

MEMBERS = {
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "MemoryPoolType.WORKSPACE",
    "BuilderFlag.TF32",
    "ProfilingVerbosity.DETAILED",
    "TensorIOMode.INPUT",
    "ExecutionContextAllocationStrategy.USER_MANAGED",
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
    "DynamicShapesKernelSpecializationStrategy.EAGER",
    "ILogger.ERROR",
    "ILogger.INTERNAL_ERROR",
    "DataType.name",
    "EngineValidity.INVALID",
    "EngineInvalidityDiagnostics.__members__",
    "ComputeCapability.__members__",
}
"""Members of enumerations."""

RTX_ONLY = {
    "IBuilderConfig.set_compute_capability",
    "IBuilderConfig.num_compute_capabilities",
    "Runtime.get_engine_validity",
    "ComputeCapability.__members__",
    "EngineValidity.INVALID",
    "EngineInvalidityDiagnostics.__members__",
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
    "IRuntimeConfig.cuda_graph_strategy",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
    "DynamicShapesKernelSpecializationStrategy.EAGER",
    "IRuntimeConfig.create_runtime_cache",
    "IRuntimeConfig.set_runtime_cache",
    "IRuntimeCache.deserialize",
    "IRuntimeCache.serialize",
    "IExecutionContext.is_stream_capturable",
}
"""Taken only where hasattr finds it."""

BESIDE_RTX_ONLY = {
    "ICudaEngine.create_runtime_config",
    "IRuntimeConfig.set_execution_context_allocation_strategy",
}
"""Taken only together with what `RTX_ONLY` names; TensorRT has them from 10.13 on."""

CLASSES = {name.split(".")[0] for name in (*CALLS, *PROPERTIES, *MEMBERS)}

OF_THE_MODULE = {"__version__"}

PARAMETERS = {
    "api": "api",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "fault": "ParserError",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "runtime_config": "IRuntimeConfig",
}
"""Parameters that are typed Any, and what they are."""

FIELDS = {
    "api": "api",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "cache": "ITimingCache",
    "_cache": "IRuntimeCache",
}
"""Fields that are typed Any, and what they are."""

NOT_TENSORRT = {
    # pycuda, read in memory.py and driven there alone.
    "driver",
    "_driver",
    "raw",
    # An ILogger of ours, only handed on; the record of what it hears is not Any.
    "logger",
    # A Library or None: a stand-in of tests.
    "library",
    "severity",
    "onnx",
    "graph",
}
ELSEWHERE = {
    "crop_network.py": "onnx",
    "cuda_bindings.py": "cuda-bindings",
    "driver.py": "pycuda",
    "memory.py": "pycuda",
    "uint8.py": "onnx",
}
"""Modules whose untyped values come from another package."""

RETURNED = {"nvonnxparser::IParserError": "ParserError"}


def answer_of(call: str) -> str:
    """Give the type that a call answers with."""
    answer = CALLS.get(call, "-> ").split("-> ")[-1]
    return RETURNED.get(answer, answer)


@dataclass
class Reader(ast.NodeVisitor):
    """Collects what one module takes; unknown: untyped names that no table has."""

    taken: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    types: dict[str, str] = field(default_factory=dict)
    bases: list[str] = field(default_factory=list)

    def type_of(self, node: ast.expr) -> str:
        """Give the library's type of an expression, or ''."""
        if isinstance(node, ast.Name):
            return self.types.get(node.id, "")
        if isinstance(node, ast.Attribute):
            whole = self.type_of(node.value)
            if whole:
                return node.attr if whole == "api" else f"{whole}.{node.attr}"
            return FIELDS.get(node.attr, "")
        if isinstance(node, ast.Call):
            called = self.type_of(node.func)
            return answer_of(called) if "." in called else called
        return ""

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Note what is taken from an object of the library."""
        whole = self.type_of(node.value)
        if whole == "api":
            self.taken.add(node.attr)
        elif whole[:1].isupper() and "." not in whole:
            self.taken.add(f"{whole}.{node.attr}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Note constructors, and names that are asked for with hasattr."""
        called = self.type_of(node.func)
        if called and "." not in called:
            self.taken.add(f"{called}.__init__")
        if isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr"):
            whole, name = self.type_of(node.args[0]), ast.literal_eval(node.args[1])
            if whole:
                self.taken.add(name if whole == "api" else f"{whole}.{name}")
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        """Learn what a parameter is."""
        if node.annotation is not None and ast.unparse(node.annotation) == "Any":
            self.learn(node.arg, PARAMETERS)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Learn what a field is."""
        self.generic_visit(node)
        if ast.unparse(node.annotation) == "Any":
            target = node.target
            name = target.attr if isinstance(target, ast.Attribute) else ast.unparse(target)
            self.learn(name, FIELDS)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Learn what a variable is."""
        self.generic_visit(node)
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                if isinstance(name, ast.Name):
                    self.types[name.id] = self.type_of(value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Read a function with names of its own; in a class of the library note what it is."""
        outer = dict(self.types)
        if self.bases and self.bases[-1] and not node.name.startswith("_"):
            self.taken.add(f"{self.bases[-1]}.{node.name}")
        self.generic_visit(node)
        self.types = outer

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Note which functions of the library a class of ours stands for."""
        bases = [self.type_of(base) for base in node.bases]
        self.bases.append(next(filter(None, bases), ""))
        self.generic_visit(node)
        self.bases.pop()

    def learn(self, name: str, table: dict[str, str]) -> None:
        """Look a name up."""
        if name in table:
            self.types[name] = table[name]
        elif name not in NOT_TENSORRT:
            self.unknown.add(name)


def sources() -> list[Path]:
    """The modules of engines/trt that deal with TensorRT."""
    folder = Path(__file__).parent.parent / "engines" / "trt"
    return sorted(path for path in folder.glob("*.py") if path.name not in ELSEWHERE)


def taken() -> tuple[set[str], set[str]]:
    """Give all that our source takes from TensorRT, and untyped names that no table has."""
    found: set[str] = set()
    unknown: set[str] = set()
    for path in sources():
        reader = Reader()
        reader.visit(ast.parse(path.read_text("utf-8")))
        found |= reader.taken
        unknown |= {f"{path.name}: {name}" for name in reader.unknown}
    return found, unknown
