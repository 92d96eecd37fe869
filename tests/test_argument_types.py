"""Arguments of a wrong type, all over the library."""

from tests.models import run_without_type_checks


def test_arguments_of_another_type_are_named() -> None:
    # Within this suite beartype would refuse them first.
    run_without_type_checks(
        """
        import advbg, numpy, torch
        from advbg.backgrounds.protocol import sample_backgrounds
        from advbg.export import export_generator
        from advbg.integrations.replacement import check_probability
        from advbg.integrations.tensorboard import TensorBoardLogger
        from advbg.masks import check_mask
        from advbg.tasks.segmentation import Segmentation
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        draws = advbg.AdversarialBackground(model).generate_parameters(torch.rand(2, 3, 4, 4))

        class Listing:
            def sample(self, count, shape, generator):
                return [0.5]

        wrapper = advbg.AdversarialBackground(model)
        images = torch.rand(2, 3, 4, 4)
        refused = {
            "`model` must be an nn.Module, got str": lambda: advbg.AdversarialBackground("resnet18"),
            "`model` must be an nn.Module, got NoneType": lambda: advbg.attach(None, optimizer),
            "`companions` (a AdversarialBackground) must be those": lambda: export_generator(wrapper, "g.safetensors"),
            "Listing.sample made a list, expected a tensor": lambda: sample_backgrounds(
                Listing(), 2, (3, 4, 4), torch.Generator()
            ),
            "`params` (a dict) must be from `generate_parameters`": lambda: wrapper(images, params={"a": 1}),
            "`weights` (=('2',)) must be numbers": lambda: advbg.AdversarialBackground(
                model, background=[("adversarial", "2")]
            ),
            "`background` (=0) must be a sequence of labels": lambda: Segmentation("s", background=0),
            "`ignore` (=('0',)) must be a sequence of labels": lambda: Segmentation("s", ignore=("0",)),
            "`total_steps` (='100') must be a whole number": lambda: advbg.Schedule.fractions("100"),
            "`total_steps` (=10.5) must be a whole number": lambda: advbg.Schedule.fractions(10.5),
            "`area` (=None) must be a weight": lambda: advbg.SufficiencyNecessity(area=None),
            "`area` (='1') must be a share": lambda: advbg.PaperObjective(area="1"),
            "`p` (='a') must be a probability": lambda: check_probability("a"),
            "`every` (=2.5) must be a whole number": lambda: TensorBoardLogger("logs", every=2.5),
            "`candidates` (=2.0) must be a whole number": lambda: advbg.AdversarialBackground(model, candidates=2.0),
            "`candidates` (=True) must be a whole number": lambda: advbg.AdversarialBackground(model, candidates=True),
            "`background` (=3)": lambda: advbg.AdversarialBackground(model, background=3),
            "`mask_generator` (=3)": lambda: advbg.AdversarialBackground(model, mask_generator=3),
            "`binarization` (='0.7')": lambda: advbg.AdversarialBackground(model, binarization="0.7"),
            "`optimizer` must be a torch.optim.Optimizer": lambda: advbg.AdversarialBackground(model).attach("adam"),
            "`attach` has no option `cluter`, `colour`": lambda: advbg.attach(model, optimizer, colour=1, cluter=None),
            "draws are of batches: for one image, index with [0]": lambda: draws[0],
            "`mask` (a ndarray) must be a tensor": lambda: check_mask(numpy.ones((2, 4, 4)), torch.rand(2, 3, 4, 4)),
        }
        for message, call in refused.items():
            try:
                call()
            except (TypeError, ValueError) as error:
                assert message in str(error), (message, error)
            else:
                raise AssertionError(message)
        """
    )
