"""What would have been under other rules: recorded history, run again in a lake of its own.

``parameters`` names the rule sets, ``isolation`` keeps the operator's tables untouched, ``replay``
runs the production steps, ``votes`` says what other validators would have submitted, ``figures``
and ``comparison`` measure, ``sweep`` runs many, ``report`` and ``plots`` show.
"""
