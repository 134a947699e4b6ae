"""What attackers earn: seasons of real prices with and without them, settled by the real steps.

Nothing here decides anything: populations come from ``simulation``, rules from ``protocol``, and
each epoch runs through the steps of the graph. Only the parameters of the simulation live here.
"""
