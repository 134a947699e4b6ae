{{ settled('ledger_entries') }}
