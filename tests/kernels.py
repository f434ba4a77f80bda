"""Kernels that start in a moment: forked from a process that has imported the libraries once."""

import gc
import multiprocessing
import os

from jupyter_client.provisioning import local_provisioner

LIBRARIES = ["ipykernel.debugger", "ipykernel.kernelapp", "matplotlib_inline.backend_inline",
             "torch._dynamo", "unseen.check", "unseen.headless", "unseen.report", "unseen.studies.claims",
             "unseen.widgets"]  # fmt: skip


def _serve(arguments, environment, folder, ready):
    """What the process of a kernel does, as if it had been started anew in a folder and an environment."""
    import matplotlib as mpl
    from ipykernel.kernelapp import IPKernelApp

    gc.freeze()  # or each kernel would look through all of the libraries for rubbish
    os.setsid()  # its group is killed with it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    mpl.use(environment["MPLBACKEND"])
    ready.send(True)
    IPKernelApp.launch_instance(argv=arguments)


class Kernel:
    """A forked kernel in the place of ``subprocess.Popen``."""

    stdin = stdout = stderr = None

    def __init__(self, command, env, cwd=None, **_):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LIBRARIES)
        began, ready = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_serve, args=(command[3:], dict(env), cwd or os.getcwd(), ready)
        )
        self.process.start()
        ready.close()
        assert began.recv()
        self.pid, self.kill, self.terminate = self.process.pid, self.process.kill, self.process.terminate

    def poll(self):
        return self.process.exitcode

    def wait(self):
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)


def fork_kernels(monkeypatch):
    """Let ``jupyter_client`` fork its kernels."""
    monkeypatch.setattr(local_provisioner, "launch_kernel", Kernel)
