"""What a network runs on: the processor, or what else the installed onnxruntime can use."""

from collections.abc import Sequence

from pfvit.errors import InputError, UsageError

CPU = "cpu"
#: Our word -> onnxruntime's, and the package that brings it (in place of `onnxruntime`).
PROVIDERS = {
    CPU: ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime on macOS"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
}


def named(providers: Sequence[str]) -> list[str]:
    """Return onnxruntime's names of providers, the processor last; InputError for one that is not to be had here."""
    import onnxruntime

    if isinstance(providers, str):  # whose letters would be taken for names
        raise UsageError(f"providers are several words, as in [{providers!r}]")
    there = set(onnxruntime.get_available_providers())
    names = []
    for word in providers or (CPU,):
        if word not in PROVIDERS:
            raise UsageError(f"there is no provider {word!r}; there are {', '.join(PROVIDERS)}")
        name, package = PROVIDERS[word]
        if name not in there:
            usable = ", ".join(word for word, (name, _) in PROVIDERS.items() if name in there)
            raise InputError(f"this onnxruntime cannot use {word}, only {usable}; {word} comes with {package}")
        names.append(name)
    return [*names, *(name for name in [PROVIDERS[CPU][0]] if name not in names)]


def check_started(wanted: Sequence[str], session_uses: Sequence[str]) -> None:
    """Refuse to go on slowly where a provider did not start: onnxruntime falls back to the processor in silence."""
    if wanted[0] not in session_uses:
        word = next(word for word, (name, _) in PROVIDERS.items() if name == wanted[0])
        raise InputError(f"{word} did not start: its driver or libraries are missing or do not fit this onnxruntime")
