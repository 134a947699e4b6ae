-- Dagster's records beside the signal store, which the image makes itself.
create database dagster;
