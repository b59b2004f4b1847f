// github.com/r3labs/sse: prints each event as a line of JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/r3labs/sse/v2"
)

func main() {
	client := sse.NewClient(os.Args[1], sse.ClientMaxBufferSize(1<<21))
	// After a failure it comes back by itself, after a clean end it does not; the cursor it keeps.
	for {
		err := client.SubscribeRaw(func(event *sse.Event) {
			line, _ := json.Marshal(map[string]string{"type": string(event.Event), "data": string(event.Data), "id": string(event.ID)})
			fmt.Println(string(line))
		})
		fmt.Fprintln(os.Stderr, err)
		time.Sleep(100 * time.Millisecond)
	}
}
