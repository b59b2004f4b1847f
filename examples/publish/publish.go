package main // Go, without modules: go run publish.go
import ("bytes"; "cmp"; "crypto/rand"; "io"; "net/http"; "os"; "time")

func publish(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	key := rand.Text()
	for tries := 10; tries > 0; tries-- { // The same key is the same event.
		request, _ := http.NewRequest("POST", cmp.Or(os.Getenv("RIACHO"), "http://127.0.0.1:4700")+"/streams/orders?type=placed", bytes.NewReader(body))
		request.Header = http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {key}}
		if answer, err := (&http.Client{Timeout: 10 * time.Second}).Do(request); err == nil && answer.StatusCode < 500 {
			w.WriteHeader(answer.StatusCode)
			io.Copy(w, answer.Body)
			return
		}
		time.Sleep(time.Second)
	}
	http.Error(w, "{}", http.StatusBadGateway)
}

func main() { http.HandleFunc("POST /orders", publish); http.ListenAndServe("127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "3000"), nil) }
