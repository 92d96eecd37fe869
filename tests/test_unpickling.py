"""What comes back from a pickle in a process that has made nothing of its own."""

import pickle
from pathlib import Path

import torch

from tests.models import a_batch, adversarial_wrapper, run_without_type_checks


def test_an_unpickled_wrapper_finds_the_foreground_in_the_targets_of_its_task(tmp_path: Path) -> None:
    wrapper = adversarial_wrapper(torch.nn.Identity(), task="segmentation", clean_share=0.0, halo=0.0)
    wrapper.companions.build(a_batch()[0])  # which asks plugins for the parts
    file = tmp_path / "wrapper.pickle"
    file.write_bytes(pickle.dumps(wrapper))
    run_without_type_checks(
        f"""
        import pickle
        from pathlib import Path
        import torch

        wrapper = pickle.loads(Path({str(file)!r}).read_bytes())
        wrapper.companions.attached = True
        labels = torch.ones(2, 32, 32, dtype=torch.int64)
        labels[:, :16] = 0
        images = torch.rand(2, 3, 32, 32)
        seen = wrapper(images, targets=labels)
        assert torch.equal(seen[:, :, 16:], images[:, :, 16:])
        assert not torch.equal(seen[:, :, :16], images[:, :, :16])
        """
    )
