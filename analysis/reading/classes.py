"""Names of the classes and, for CIFAR-100, the 20 superclasses of five classes each.

Facts of the data set (Krizhevsky, 2009), written down here so that a figure of predictions needs
no data on disk; a test compares them with the published files. CIFAR's label of a class is its
place in the alphabet.
"""

from __future__ import annotations

from dataclasses import dataclass

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
_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
#: Names too long for an axis.
_SHORT = {
    "household_electrical_devices": "household electrical",
    "large_man-made_outdoor_things": "large man-made outdoor",
    "large_natural_outdoor_scenes": "large natural outdoor",
    "large_omnivores_and_herbivores": "large omni-/herbivores",
    "non-insect_invertebrates": "other invertebrates",
}


@dataclass(frozen=True)
class Classes:
    """The classes of a data set. `parents`: the superclass of each, as an index of `groups`."""

    names: tuple[str, ...]
    groups: tuple[str, ...] = ()  # empty: no superclasses
    parents: tuple[int, ...] = ()

    def members(self, group: int) -> list[int]:
        """The classes of a superclass, in order."""
        return [label for label, parent in enumerate(self.parents) if parent == group]

    def order(self) -> list[int]:
        """All classes, those of a superclass side by side."""
        if not self.groups:
            return list(range(len(self.names)))
        return [label for group in range(len(self.groups)) for label in self.members(group)]

    def related(self, one: int, other: int) -> bool:
        """Whether two classes share a superclass."""
        return bool(self.groups) and self.parents[one] == self.parents[other]


def classes_of(data: object, count: int) -> Classes:
    """The classes of the data set `data` that has `count` of them; numbers where it is unknown.

    >>> classes_of("cifar100", 100).names[:3], classes_of("digits", 2).names
    (('apple', 'aquarium fish', 'baby'), ('0', '1'))
    """
    if data == "cifar100" and count <= 100:
        return _cifar100()
    if data == "cifar10" and count <= 10:
        return Classes(tuple(_CIFAR10.split()))
    return Classes(tuple(map(str, range(count))))


def _cifar100() -> Classes:
    members = {group: text.split() for group, text in SUPERCLASSES.items()}
    names = sorted(name for group in members.values() for name in group)
    parent = {name: index for index, group in enumerate(members.values()) for name in group}
    return Classes(
        tuple(map(_readable, names)),
        tuple(_readable(_SHORT.get(group, group)) for group in members),
        tuple(parent[name] for name in names),
    )


def _readable(name: str) -> str:
    return name.replace("_", " ")
