# guard: outlive the parent just long enough to end its server and remove its temporary data.
# stdin: one line at each change: the pid to end, or nothing. Its end means: the parent is done, or dead.
# $1 = signal that ends the server in order; $2 = temporary directory to remove, or empty

# Whoever signals the parent's whole family must not get the guard first.
trap '' HUP INT QUIT TERM

server=
while read -r line; do server=$line; done

children() {
  pgrep -P "$server" || cat "/proc/$server/task/$server/children"
}

# A zombie is gone: in a container the first process may never bury it.
is_alive() {
  kill -s 0 "$server" && ! grep -q ') Z ' "/proc/$server/stat"
}

if [ -n "$server" ]; then
  family="$server $(children)"
  kill -s "$1" "$server"
  # A paused server cannot hear the signal, nor can its paused children. Unquoted: one word per pid.
  kill -s CONT $family
  tries=0
  while is_alive && [ "$tries" -lt 40 ]; do
    sleep 0.05
    tries=$((tries + 1))
  done
  if is_alive; then
    kill -s KILL $family
    kill -s KILL -- "-$server"
  fi
fi

# A second try, because a killed server's last child may have written during the first.
[ -z "$2" ] || rm -rf -- "$2" || { sleep 0.5; rm -rf -- "$2"; }
