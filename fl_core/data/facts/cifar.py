"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): names of classes and superclasses, published files.

Written down here so that a figure of predictions needs no data on disk; tests compare them with the
published files. CIFAR-100's label of a class is its place in the alphabet.
"""

from __future__ import annotations

from fl_core.data.facts.data_set import DataSet, Published

SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
_SHORT = {
    "household_electrical_devices": "household electrical",
    "large_man-made_outdoor_things": "large man-made outdoor",
    "large_natural_outdoor_scenes": "large natural outdoor",
    "large_omnivores_and_herbivores": "large omni-/herbivores",
    "non-insect_invertebrates": "other invertebrates",
}
_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_DOWNLOAD = "python -c \"from torchvision.datasets import {0}; {0}('data', download=True)\""

CIFAR100 = DataSet(
    "CIFAR-100",
    classes=100,
    train=50_000,
    test=10_000,
    names=tuple(sorted(name for text in SUPERCLASSES.values() for name in text.split())),
    superclasses=SUPERCLASSES,
    short=_SHORT,
    files=Published(
        "cifar-100-python",
        {
            "train": {"train": "16019d7e3df5f24257cddd939b257f8d"},
            "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        },
        {"meta": "7973b15100ade9c7d40fb424638fde48"},
        "fine_labels",
        _DOWNLOAD.format("CIFAR100"),
    ),
)
CIFAR10 = DataSet(
    "CIFAR-10",
    classes=10,
    train=50_000,
    test=10_000,
    names=tuple(_CIFAR10.split()),
    files=Published(
        "cifar-10-batches-py",
        {
            "train": {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            },
            "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
        },
        {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        "labels",
        _DOWNLOAD.format("CIFAR10"),
    ),
)
