// Runs import_cells.groovy on a project of stand-ins for QuPath's classes: images in several places,
// one without a frame, one of another size. Fails with an assertion.
import groovy.json.JsonOutput
import org.codehaus.groovy.control.CompilerConfiguration

def folder = new File(args[0])
def script = new File(args[1])

def loader = new GroovyClassLoader()
loader.parseClass('''
package qupath.lib.io
class PathIO {
    static List readObjects(File file) {
        new groovy.json.JsonSlurper().parse(file, 'UTF-8').features.collect { feature ->
            new Expando(getID: { feature.id }, name: feature.properties.name)
        }
    }
}
''')
loader.parseClass('''
abstract class QuPathScript extends Script {
    def getProject() { binding.getVariable('project') }
    def getProjectEntry() { binding.getVariable('open') }
    def getCurrentImageData() { binding.getVariable('current') }
}
''')

def frame = { image, path, geojson, part ->
    [image: image, path: path, part: part, width: 200, height: 100, slide: 's', geojson: geojson]
}
def rows = [
    frame('a.png', 'smears/one/a.png', 'one-a.geojson', null),
    frame('a.png', 'smears/two/a.png', 'two-a.geojson', null),
    frame('stack.tif', 'smears/stack.tif', 'stack-0.geojson', 0),
    frame('stack.tif', 'smears/stack.tif', 'stack-1.geojson', 1),
]
new File(folder, 'images.json').text = JsonOutput.toJson([images: rows])
rows.each { row ->
    def features = (0..1).collect { [id: "${row.geojson}:${it}", properties: [name: "cell ${it}"]] }
    new File(folder, row.geojson).text = JsonOutput.toJson([features: features])
}

def image = { String name, String uri, int width = 200, int height = 100 ->
    def objects = [new Expando(getID: { 'drawn by hand' })]
    def hierarchy = new Expando(
        objects: objects,
        getDetectionObjects: { objects },
        removeObjects: { gone, keep -> objects.removeAll(gone) },
        addObjects: { more -> objects.addAll(more) },
    )
    def server = new Expando(getWidth: { width }, getHeight: { height })
    def data = new Expando(getServer: { server }, getHierarchy: { hierarchy })
    def entry = new Expando(saved: [], objects: objects)
    entry.getImageName = { name }
    entry.getURIs = { [new URI(uri)] }
    entry.readImageData = { data }
    entry.saveImageData = { entry.saved << it }
    entry.data = data
    entry
}
def images = [
    image('a.png', 'file:/elsewhere/two/a.png'),
    image('renamed by hand', 'file:/elsewhere/one/a.png'),
    image('stack.tif - Series 1', 'file:/elsewhere/stack.tif'),
    image('other.png', 'file:/elsewhere/other.png'),
    image('a.png', 'file:/elsewhere/one/a.png', 300, 100),
    image('a.png', 'file:/nowhere/a.png'),
]
def project = new Expando(getImageList: { images })
def settings = new CompilerConfiguration(scriptBaseClass: 'QuPathScript')

def play = { File place ->
    def out = new StringWriter()
    def binding = new Binding(
        project: project, open: images[0], current: images[0].data, out: new PrintWriter(out, true),
        args: [place.path] as String[],
    )
    new GroovyShell(loader, binding, settings).evaluate(script)
    out.toString()
}

2.times { // A second run replaces what the first one imported.
    def said = play(folder)
    def found = images.collect { one -> one.objects.collect { it.getID() as String } }
    assert found[0] == ['drawn by hand', 'two-a.geojson:0', 'two-a.geojson:1']
    assert found[1] == ['drawn by hand', 'one-a.geojson:0', 'one-a.geojson:1']
    assert found[2] == ['drawn by hand', 'stack-1.geojson:0', 'stack-1.geojson:1']
    assert found[3..5].every { it == ['drawn by hand'] }
    assert said.contains('other.png is no frame of EdgeAPL')
    assert said.contains('has not the size of the frame')
    assert said.contains('fits 2 frames of EdgeAPL')
    assert said.contains('Imported 6 cells into 3 of 6 images')
    assert said.contains('Research use only')
}
assert images[0].saved == [images[0].data, images[0].data]
assert play(new File(folder, 'nowhere')).contains('write at the top of the script')
