"""The parts of the command skimgclf: options, settings files, its sub-commands."""
