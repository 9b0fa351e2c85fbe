"""One set of tests for both backends: `KERAS_BACKEND=tensorflow` (default) or `jax`.

What only one backend has is in files of its name, which the other does not collect.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import hypothesis  # noqa: E402
import keras  # noqa: E402

# Fixed examples, and no clock: a busy machine draws slowly.
clock = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("fixed", derandomize=True, database=None, **clock)
hypothesis.settings.register_profile("random", database=None, **clock)  # for `make soak`
hypothesis.settings.load_profile(os.environ.get("LANGEVIN_HYPOTHESIS", "fixed"))

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Two devices on any machine, for MirroredStrategy; to be set before the first tensor.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    collect_ignore_glob = ["*_jax.py"]
else:
    import tempfile

    import jax

    # Many tests compile the same program; the folder lives as long as this process.
    folder = tempfile.TemporaryDirectory(prefix="langevin-tests-")
    cache = {
        "jax_compilation_cache_dir": folder.name,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for option, value in cache.items():
        jax.config.update(option, value)
        os.environ[option.upper()] = str(value)  # for the processes that tests start
    collect_ignore_glob = ["*_tensorflow.py"]


def pytest_configure(config):
    # Keras asks its arrays for a copy in a way that NumPy 2 deprecates.
    config.addinivalue_line("filterwarnings", "ignore:__array__ implementation doesn't accept")


def pytest_runtest_setup(item):
    item.environment = dict(os.environ)


def pytest_runtest_teardown(item):
    # `make figures` says by the environment what its notebooks shall do.
    os.environ.clear()
    os.environ.update(item.environment)
