"""Parse and run the sub-commands of skimgclf, with their options and settings."""
