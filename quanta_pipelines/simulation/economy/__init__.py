"""The economy over years: miners with wallets, on real prices, under the production rules.

Miners and their skill are simulated, and so is all that follows from them; prices are real.
``market`` reads prices, ``skill`` makes portfolios, ``week`` scores and settles an epoch,
``years`` runs a seed, ``summary`` puts seeds together, ``page`` and ``plots`` show.
"""
