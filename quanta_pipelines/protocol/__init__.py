"""The rules, as pure functions: every validator can import them without an orchestrator.

No Dagster, no IO, no clock, no environment. Modules stand in the order in which an epoch runs:
params, epoch, portfolio, commit_reveal, oracle, returns, metrics, scoring, consensus, rewards.
"""
