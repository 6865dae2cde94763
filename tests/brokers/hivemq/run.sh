#!/usr/bin/env bash
# Starts a HiveMQ CE broker on 127.0.0.1:PORT until it is ended. Needs a JDK of version 17 and Maven. CI does not run it.
# usage: run.sh PORT FOLDER    FOLDER: for classes and the broker's data
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
port=$1
folder=$(mkdir -p "$2" && cd "$2" && pwd)
if [[ ! -d $folder/lib ]]; then
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$folder/lib"
fi
javac --release 17 -cp "$folder/lib/*" -d "$folder/classes" "$here/src/main/java/Broker.java"
opens=()
for package in java.base/java.lang java.base/java.nio java.base/sun.nio.ch jdk.management/com.sun.management.internal; do
    opens+=(--add-opens "$package=ALL-UNNAMED")
done
exec java -Xmx1g "${opens[@]}" -cp "$folder/classes:$folder/lib/*" Broker "$port" "$folder"
