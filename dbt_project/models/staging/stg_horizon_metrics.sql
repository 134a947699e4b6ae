{{ settled('horizon_metrics') }}
