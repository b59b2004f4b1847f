import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

/** OkHttp's `okhttp-sse`. It reads one answer; to come back with the cursor is the caller's. */
public class Client {
    static volatile String cursor = "";

    public static void main(String[] args) throws Exception {
        // Three heartbeats of silence; its own limit is 10 s.
        OkHttpClient client = new OkHttpClient.Builder().readTimeout(Duration.ofSeconds(45)).build();
        while (true) {
            Request.Builder request = new Request.Builder().url(args[0]);
            if (!cursor.isEmpty()) request.header("Last-Event-ID", cursor);
            CountDownLatch ended = new CountDownLatch(1);
            EventSources.createFactory(client).newEventSource(request.build(), new EventSourceListener() {
                @Override public void onEvent(EventSource source, String id, String type, String data) {
                    if (id != null) cursor = id;
                    System.out.printf("{\"type\":%s,\"data\":%s,\"id\":%s}%n", json(type == null ? "message" : type), json(data), json(cursor));
                }
                @Override public void onClosed(EventSource source) {
                    ended.countDown();
                }
                @Override public void onFailure(EventSource source, Throwable cause, Response response) {
                    System.err.println(cause);
                    ended.countDown();
                }
            });
            ended.await();
            Thread.sleep(100);
        }
    }

    static String json(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + '"';
    }
}
