"""One set of tests for both backends: `KERAS_BACKEND=tensorflow` (default) or `jax`.

What only one backend has is in files of its name, which the other does not collect.
"""

import os
import tempfile

import hypothesis

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
collect_ignore_glob = ["*_jax.py" if BACKEND == "tensorflow" else "*_tensorflow.py"]

# Fixed examples, and no clock: a busy machine draws slowly.
clock = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("fixed", derandomize=True, database=None, **clock)
hypothesis.settings.register_profile("random", database=None, **clock)  # for `make soak`
hypothesis.settings.load_profile(os.environ.get("LANGEVIN_HYPOTHESIS", "fixed"))


def pytest_configure(config):
    # Keras asks its arrays for a copy in a way that NumPy 2 deprecates.
    config.addinivalue_line("filterwarnings", "ignore:__array__ implementation doesn't accept")
    # Workers, if there are any, run the tests, and have this process's environment.
    worker = hasattr(config, "workerinput")
    if BACKEND == "jax" and not worker:
        keep_what_is_compiled(config)
    if BACKEND == "tensorflow" and (worker or config.getoption("dist", "no") == "no"):
        have_two_devices()


def keep_what_is_compiled(config):
    """Many tests compile the same program."""
    folder = tempfile.TemporaryDirectory(prefix="langevin-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def have_two_devices():
    """On any machine, for MirroredStrategy; to be said before the first tensor."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def pytest_runtest_setup(item):
    item.environment = dict(os.environ)


def pytest_runtest_teardown(item):
    # `make figures` says by the environment what its notebooks shall do.
    os.environ.clear()
    os.environ.update(item.environment)
