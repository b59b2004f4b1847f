// github.com/tmaxmax/go-sse: prints each event as a line of JSON.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/tmaxmax/go-sse"
)

func main() {
	request, err := http.NewRequest(http.MethodGet, os.Args[1], nil)
	if err != nil {
		panic(err)
	}
	// After each failure in a row it waits longer; by itself without a bound.
	client := sse.Client{Backoff: sse.Backoff{MaxInterval: time.Second}}
	connection := client.NewConnection(request)
	connection.SubscribeToAll(func(event sse.Event) {
		line, _ := json.Marshal(map[string]string{"type": event.Type, "data": event.Data, "id": event.LastEventID})
		fmt.Println(string(line))
	})
	fmt.Fprintln(os.Stderr, connection.Connect())
}
