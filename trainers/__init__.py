"""Trainers that nnU-Net finds by name; this folder is what `nnUNet_extTrainer` points at.

nnU-Net imports every module here as a *top-level* module, in alphabetical order, until one has the class it looks for,
and drops all of them from `sys.modules` afterwards. Hence the rules, each of them a test:

* modules are called `spine_*.py` (no clash with the standard library), classes `Spine*Trainer` (no clash with nnU-Net);
* imports are absolute and from `nnunet_spine_ext` only: a relative import has no parent package here;
* nothing but trainer classes is defined here: what is defined here cannot be pickled;
* a class says its difference by class attributes or hooks, never by an `__init__` parameter;
* optional dependencies are imported where they are used, so that one missing package never hides the other trainers.
"""
