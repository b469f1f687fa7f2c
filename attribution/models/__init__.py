"""The mathematics: plain functions on checked statistics, one file a model."""
