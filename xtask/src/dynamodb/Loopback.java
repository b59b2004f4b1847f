import com.amazonaws.services.dynamodbv2.local.main.ServerRunner;
import com.amazonaws.services.dynamodbv2.local.server.DynamoDBProxyServer;
import java.util.Arrays;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/**
 * DynamoDB Local on 127.0.0.1 alone: it has no option for that, and would listen on every address. The first argument is
 * the port, 0 for any that is free; it is said when it takes requests. The others are its own.
 */
final class Loopback {
    public static void main(String[] args) throws Exception {
        String[] own = Arrays.copyOfRange(args, 1, args.length);
        DynamoDBProxyServer local = ServerRunner.createServerFromCommandLineArgs(own);
        var field = DynamoDBProxyServer.class.getDeclaredField("server");
        field.setAccessible(true);
        var connector = (ServerConnector) ((Server) field.get(local)).getConnectors()[0];
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(args[0]));
        local.start();
        System.out.println("listening on " + connector.getLocalPort());
        local.join();
    }
}
