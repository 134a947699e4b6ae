#!/bin/sh
# Backs up signal store, Dagster's records and lake into one new folder, and says when it is whole.
#
#   backup.sh FOLDER [--empty-lake]      with QUANTA_DATABASE_URL, QUANTA_DAGSTER_POSTGRES_URL and QUANTA_LAKE set
#
# The lake goes first: it rests on signals, so the store may be newer than it and never older. Each
# file is whole, so it may be copied while epochs run; verify.py then reads every table of the copy.
# A lake without a table is taken for a wrong address, unless --empty-lake says that no epoch ran yet.
# What is in FOLDER is as secret as the databases are.
set -eu
umask 077
folder=${1:?usage: backup.sh FOLDER [--empty-lake]}
here=$(dirname "$0")
python=${QUANTA_PYTHON:-/opt/quanta/.venv/bin/python}
: "${QUANTA_DATABASE_URL:?}" "${QUANTA_DAGSTER_POSTGRES_URL:?}" "${QUANTA_LAKE:?}"
[ ! -e "$folder" ] || { echo "$folder exists: a backup is a new folder" >&2; exit 1; }
mkdir -p "$folder.part/lake"
"$python" "$here/lake_copy.py" "$QUANTA_LAKE" "$folder.part/lake"
"$python" "$here/verify.py" "$folder.part/lake" ${2:+"$2"}
pg_dump --format=custom --no-owner --file="$folder.part/signals.dump" "$QUANTA_DATABASE_URL"
pg_dump --format=custom --no-owner --file="$folder.part/dagster.dump" "$QUANTA_DAGSTER_POSTGRES_URL"
(cd "$folder.part" && find . -type f ! -name SHA256SUMS -exec sha256sum {} + | sort -k2 > SHA256SUMS)
mv "$folder.part" "$folder"
echo "$folder is whole"
